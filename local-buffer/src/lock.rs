//! Taking a mutex whose other users may have panicked.

use std::sync::PoisonError;

use crate::sync::{Mutex, MutexGuard};

/// Takes the mutex. Every critical section of this crate leaves its data whole at each step that can panic, and the
/// writer's end is made known by other means, so a panic elsewhere is no reason for one here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
