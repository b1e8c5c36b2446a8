//! The producers, by whose they are and how they send.

use super::router::Cluster;

/// How many there are.
pub(crate) const ROUTES: usize = 4;

/// One of the producers: each cluster has one for all records and one for those that are tried alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// Whose it is.
    pub cluster: Cluster,
    /// Whether it sends each record alone.
    pub alone: bool,
}

impl Route {
    /// All of them.
    pub(crate) const ALL: [Self; ROUTES] = [
        Self { cluster: Cluster::Primary, alone: false },
        Self { cluster: Cluster::Primary, alone: true },
        Self { cluster: Cluster::Secondary, alone: false },
        Self { cluster: Cluster::Secondary, alone: true },
    ];

    /// Those of one cluster: together, and alone.
    pub(crate) fn of(cluster: Cluster) -> [Self; 2] {
        [false, true].map(|alone| Self { cluster, alone })
    }

    /// Its place among [all](Self::ALL).
    pub(crate) fn index(self) -> usize {
        self.cluster as usize * 2 + usize::from(self.alone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_has_its_place() {
        for (place, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route.index(), place);
            assert!(Route::of(route.cluster).contains(&route));
        }
    }
}
