//! Files, folders and their names, as programs see them and as the disk has them. Pure.
//!
//! A new name, a removal and a renaming are durable when the folder is synced, and not before. A renaming is there as a
//! whole or not at all, as on any file system with a journal.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use rand::rngs::SmallRng;

use crate::Fate;
use crate::content::Content;

/// Number of the root folder.
pub(crate) const ROOT: u64 = 1;

type Names = BTreeMap<OsString, u64>;

/// A file or a folder.
pub(crate) enum Node {
    File(Content),
    Folder { seen: Names, durable: Names },
}

impl Node {
    /// An empty folder.
    pub(crate) fn folder() -> Self {
        Self::Folder { seen: Names::new(), durable: Names::new() }
    }
}

/// Names that change at once: folder, name, and what it stands for from then on.
type NameChange = Vec<(u64, OsString, Option<u64>)>;

/// All nodes.
pub(crate) struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    changes: Vec<NameChange>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: BTreeMap::from([(ROOT, Node::folder())]), next: ROOT + 1, changes: Vec::new() }
    }
}

impl Tree {
    pub(crate) fn node(&self, number: u64) -> Option<&Node> {
        self.nodes.get(&number)
    }

    pub(crate) fn file_mut(&mut self, number: u64) -> Option<&mut Content> {
        match self.nodes.get_mut(&number) {
            Some(Node::File(content)) => Some(content),
            _ => None,
        }
    }

    pub(crate) fn names(&self, folder: u64) -> Option<&Names> {
        match self.nodes.get(&folder) {
            Some(Node::Folder { seen, .. }) => Some(seen),
            _ => None,
        }
    }

    pub(crate) fn find(&self, folder: u64, name: &OsStr) -> Option<u64> {
        self.names(folder)?.get(name).copied()
    }

    /// Adds a node under a name that nothing has.
    pub(crate) fn add(&mut self, folder: u64, name: &OsStr, node: Node) -> u64 {
        let number = self.next;
        self.next += 1;
        self.nodes.insert(number, node);
        self.change(vec![(folder, name.to_owned(), Some(number))]);
        number
    }

    pub(crate) fn remove(&mut self, folder: u64, name: &OsStr) {
        self.change(vec![(folder, name.to_owned(), None)]);
    }

    /// Gives a node another name, in the place of whatever had it.
    pub(crate) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Option<()> {
        let number = self.find(from.0, from.1)?;
        self.change(vec![(from.0, from.1.to_owned(), None), (to.0, to.1.to_owned(), Some(number))]);
        Some(())
    }

    /// Makes the names in a folder durable, and whatever else changed at once with them.
    pub(crate) fn sync_folder(&mut self, folder: u64) {
        let mut folders = BTreeSet::from([folder]);
        let mut synced = Vec::new();
        let mut left = Vec::new();
        for change in std::mem::take(&mut self.changes).into_iter().rev() {
            if change.iter().any(|(folder, ..)| folders.contains(folder)) {
                folders.extend(change.iter().map(|(folder, ..)| *folder));
                synced.push(change);
            } else {
                left.push(change);
            }
        }
        left.reverse();
        self.changes = left;
        for change in synced.into_iter().rev() {
            apply(&mut self.nodes, &change, |node| match node {
                Node::Folder { durable, .. } => Some(durable),
                Node::File(_) => None,
            });
        }
    }

    /// Bytes of all files that have a name.
    pub(crate) fn bytes(&self) -> u64 {
        let folders = self.nodes.values().filter_map(|node| match node {
            Node::Folder { seen, .. } => Some(seen),
            Node::File(_) => None,
        });
        let files = folders.flat_map(BTreeMap::values).filter_map(|number| match self.nodes.get(number) {
            Some(Node::File(content)) => Some(content.seen().len() as u64),
            _ => None,
        });
        files.sum()
    }

    /// What the disk has after a power cut.
    pub(crate) fn after_cut(&self, fate: Fate, random: &mut SmallRng) -> Self {
        let mut nodes = BTreeMap::new();
        for (number, node) in &self.nodes {
            let node = match node {
                Node::File(content) => Node::File(Content::of(content.after_cut(fate, random))),
                Node::Folder { durable, .. } => Node::Folder { seen: durable.clone(), durable: durable.clone() },
            };
            nodes.insert(*number, node);
        }
        for change in self.changes.iter().filter(|_| fate.keeps(random)) {
            for of in [seen_names, durable_names] {
                apply(&mut nodes, change, of);
            }
        }
        let mut tree = Self { nodes, next: self.next, changes: Vec::new() };
        tree.drop_nameless();
        tree
    }

    /// Drops what no name leads to.
    fn drop_nameless(&mut self) {
        let mut known = BTreeSet::from([ROOT]);
        let mut look = vec![ROOT];
        while let Some(folder) = look.pop() {
            for number in self.names(folder).into_iter().flat_map(BTreeMap::values) {
                if known.insert(*number) {
                    look.push(*number);
                }
            }
        }
        self.nodes.retain(|number, _| known.contains(number));
    }

    fn change(&mut self, change: NameChange) {
        apply(&mut self.nodes, &change, seen_names);
        self.changes.push(change);
    }
}

fn seen_names(node: &mut Node) -> Option<&mut Names> {
    match node {
        Node::Folder { seen, .. } => Some(seen),
        Node::File(_) => None,
    }
}

fn durable_names(node: &mut Node) -> Option<&mut Names> {
    match node {
        Node::Folder { durable, .. } => Some(durable),
        Node::File(_) => None,
    }
}

fn apply(nodes: &mut BTreeMap<u64, Node>, change: &NameChange, names: fn(&mut Node) -> Option<&mut Names>) {
    for (folder, name, number) in change {
        let Some(names) = nodes.get_mut(folder).and_then(names) else { continue };
        match number {
            Some(number) => names.insert(name.clone(), *number),
            None => names.remove(name),
        };
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn file() -> Node {
        Node::File(Content::default())
    }

    fn names(tree: &Tree, folder: u64) -> Vec<String> {
        let names = tree.names(folder).into_iter().flat_map(BTreeMap::keys);
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    }

    fn lost(tree: &Tree) -> Tree {
        tree.after_cut(Fate::AllLost, &mut SmallRng::seed_from_u64(1))
    }

    #[test]
    fn a_name_is_there_after_a_cut_only_when_its_folder_was_synced() {
        let mut tree = Tree::default();
        let folder = tree.add(ROOT, OsStr::new("folder"), Node::folder());
        tree.add(folder, OsStr::new("a.tmp"), file());
        tree.sync_folder(folder);
        assert!(names(&lost(&tree), ROOT).is_empty(), "the folder itself has no durable name yet");
        tree.sync_folder(ROOT);
        assert_eq!(names(&lost(&tree), folder), ["a.tmp"]);
        tree.rename((folder, OsStr::new("a.tmp")), (folder, OsStr::new("a"))).unwrap();
        tree.sync_folder(ROOT);
        assert_eq!(names(&lost(&tree), folder), ["a.tmp"]);
        let kept = tree.after_cut(Fate::AllKept, &mut SmallRng::seed_from_u64(1));
        assert_eq!(names(&kept, folder), ["a"]);
        tree.sync_folder(folder);
        assert_eq!(names(&lost(&tree), folder), ["a"]);
    }

    #[test]
    fn a_renaming_to_another_folder_is_durable_with_either_and_never_half() {
        let mut tree = Tree::default();
        let one = tree.add(ROOT, OsStr::new("one"), Node::folder());
        let two = tree.add(ROOT, OsStr::new("two"), Node::folder());
        tree.add(one, OsStr::new("x"), file());
        tree.sync_folder(one);
        tree.sync_folder(ROOT);
        tree.rename((one, OsStr::new("x")), (two, OsStr::new("x"))).unwrap();
        assert_eq!((names(&lost(&tree), one).len(), names(&lost(&tree), two).len()), (1, 0));
        tree.sync_folder(two);
        assert_eq!((names(&lost(&tree), one).len(), names(&lost(&tree), two).len()), (0, 1));
        assert_eq!(lost(&tree).bytes(), 0);
    }
}
