//! Topics that records were sent to, looked up once each: by name librdkafka walks its list of topics under a lock, for
//! every record.

use std::ffi::{CStr, CString};
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use rdkafka::bindings as rd;

/// Topics that are remembered; what goes to another one is looked up by its name each time.
const TOPICS_MAX: usize = 4;

/// The topics of one client.
#[derive(Debug, Default)]
pub(crate) struct Topics(Box<[OnceLock<Topic>; TOPICS_MAX]>);

impl Topics {
    /// librdkafka's handle of a topic, which lives as long as `self`; `None` where there is no place for one more, or
    /// librdkafka takes no such name.
    ///
    /// # Safety
    /// The client must be the same with each call, alive, and outlive `self`.
    #[expect(unsafe_code, reason = "the handles are librdkafka's")]
    pub(crate) unsafe fn find(&self, client: *mut rd::rd_kafka_t, name: &CStr) -> Option<*mut rd::rd_kafka_topic_t> {
        for place in &*self.0 {
            let topic = if let Some(topic) = place.get() {
                topic
            } else {
                // SAFETY: the caller gives a live client.
                let new = unsafe { Topic::new(client, name) }?;
                // Another thread may have taken the place meanwhile, for another topic.
                place.get_or_init(|| new)
            };
            if topic.name.as_c_str() == name {
                return Some(topic.handle.as_ptr());
            }
        }
        None
    }
}

/// One of them.
#[derive(Debug)]
struct Topic {
    name: CString,
    handle: NonNull<rd::rd_kafka_topic_t>,
}

// SAFETY: librdkafka locks its topics; any thread may use a handle.
#[expect(unsafe_code, reason = "a pointer says nothing of threads")]
unsafe impl Send for Topic {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a pointer says nothing of threads")]
unsafe impl Sync for Topic {}

#[expect(unsafe_code, reason = "topics are librdkafka's")]
impl Topic {
    /// # Safety
    /// The client must be alive and outlive what this returns.
    unsafe fn new(client: *mut rd::rd_kafka_t, name: &CStr) -> Option<Self> {
        // SAFETY: the caller gives a live client; the name is copied. No settings are those of the client.
        let handle = unsafe { rd::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut()) };
        NonNull::new(handle).map(|handle| Self { name: name.to_owned(), handle })
    }
}

impl Drop for Topic {
    #[expect(unsafe_code, reason = "the handle is librdkafka's")]
    fn drop(&mut self) {
        // SAFETY: this gives back the one reference that `new` took.
        unsafe { rd::rd_kafka_topic_destroy(self.handle.as_ptr()) }
    }
}
