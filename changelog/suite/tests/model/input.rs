//! The inputs: clusters with a topic each, and what becomes of topics.

/// A record of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Event {
    pub(crate) id: u8,
    pub(crate) leader_epoch: i32,
    /// When it was received, milliseconds since the Unix epoch.
    pub(crate) received_ms: i64,
    /// When it was appended; of no other record.
    pub(crate) appended_ms: i64,
}

/// One partition.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct Partition {
    /// First offset that is there.
    pub(crate) start: u64,
    pub(crate) events: Vec<Event>,
    pub(crate) leader_epoch: i32,
}

/// One cluster.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Cluster {
    pub(crate) number: u8,
    /// Which topic by the name it is.
    pub(crate) topic: u8,
    /// How often that was made anew, under this id or another.
    pub(crate) making: u8,
    pub(crate) partitions: Vec<Partition>,
}

impl Partition {
    /// Offset behind the last record.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.events.len() as u64
    }

    /// Offset behind the last record of a leader epoch, or of those before it: what a leader tells a client that has read so
    /// far.
    pub(crate) fn end_of(&self, leader_epoch: i32) -> u64 {
        let later = self.events.iter().position(|event| event.leader_epoch > leader_epoch);
        later.map_or_else(|| self.end(), |place| self.start + place as u64)
    }

    /// The record at an offset that is there.
    pub(crate) fn at(&self, offset: u64) -> Event {
        self.events[(offset - self.start) as usize]
    }

    /// The newest record is lost.
    pub(crate) fn cut(&mut self) {
        self.events.pop();
        self.leader_epoch += 1;
    }

    /// The oldest record is taken by retention.
    pub(crate) fn trim(&mut self) {
        self.start += 1;
        self.events.remove(0);
    }
}

impl Cluster {
    pub(crate) fn new(number: u8) -> Self {
        Self { number, topic: 0, making: 0, partitions: vec![Partition::default()] }
    }

    pub(crate) fn cluster_id(&self) -> Vec<u8> {
        vec![b'a' + self.number]
    }

    pub(crate) fn topic_id(&self) -> [u8; 16] {
        [self.topic + 1; 16]
    }

    /// Whoever produces sees every partition. There is one lane, so each of them is the lane's.
    pub(crate) fn produce(&mut self, id: u8, received_ms: i64, appended_ms: i64) {
        let place = usize::from(id) % self.partitions.len();
        let partition = &mut self.partitions[place];
        let leader_epoch = partition.leader_epoch;
        partition.events.push(Event { id, leader_epoch, received_ms, appended_ms });
    }

    /// It is empty, and its leaders count from 0 again.
    pub(crate) fn make_anew(&mut self, keeps_id: bool) {
        self.making += 1;
        self.topic += u8::from(!keeps_id);
        self.partitions.fill_with(Partition::default);
    }

    /// Every record that is there.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.partitions.iter().flat_map(|partition| &partition.events)
    }
}
