//! Objects and texts of librdkafka's, as Rust owns and reads them.

use std::ffi::{CStr, c_char};
use std::ptr::NonNull;

/// An object of librdkafka's, destroyed when dropped.
pub(crate) struct Handle<T>(NonNull<T>, unsafe extern "C" fn(*mut T));

impl<T> Handle<T> {
    /// Takes over an object; `None` where librdkafka made none.
    ///
    /// # Safety
    /// The object is null, or alive, nobody else's, and one that `destroy` destroys. Whatever it needs outlives this.
    #[expect(unsafe_code, reason = "who owns an object of C's is a matter of its manual")]
    pub(crate) unsafe fn new(object: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        NonNull::new(object).map(|object| Self(object, destroy))
    }

    pub(crate) fn get(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Drop for Handle<T> {
    #[expect(unsafe_code, reason = "the object is librdkafka's")]
    fn drop(&mut self) {
        // SAFETY: the object was given to this handle alone and is destroyed nowhere else.
        unsafe { (self.1)(self.0.as_ptr()) }
    }
}

/// A text that librdkafka lends; empty where it gives none.
///
/// # Safety
/// It is null, or ends with a zero byte and outlives the call.
#[expect(unsafe_code, reason = "texts of librdkafka are C's")]
pub(crate) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller says so.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
