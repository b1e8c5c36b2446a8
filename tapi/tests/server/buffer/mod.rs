//! `tapi buffer` as a person on call uses it: the real program on real files.

mod live;
mod looking;
mod mending;
mod shapes;
mod stage;
