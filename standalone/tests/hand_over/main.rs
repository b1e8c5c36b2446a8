//! From one process to the next without a refused connection. What happens when either dies at any step, and under load,
//! is tested where `tapi` does the same through the same code; here it is that the output goes on.

mod activated;
mod programs;
mod take_over;
