//! The index from outside: a changelog, an index that caches it, and what may happen to both.

mod alloc;
mod crash;
mod damage;
mod disk_full;
mod model;
mod rig;
mod subject;
mod suite;
mod verdicts;
