//! What the workers of one host share out among themselves where nobody told them: folders and admin ports. What is in the
//! settings is taken as it is, or refused.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use service::{Admin, AdminServer, DataDir, Failure};
use tracing::info;

use crate::config::Config;

/// Workers of one host that find a folder without being told one.
const FOLDERS_MAX: u32 = 16;

/// Locks the folder of this worker's indexes. The folder of a shadow lies inside.
///
/// # Errors
/// Where it cannot be made, or another worker holds it.
pub(super) fn folder(config: &Config, is_shadow: bool) -> Result<(DataDir, PathBuf), Failure> {
    let within = |folder: PathBuf| if is_shadow { folder.join("shadow") } else { folder };
    if config.data == Config::default().data {
        for number in 1..=FOLDERS_MAX {
            let data = config.data.display();
            let folder = within(if number == 1 { config.data.clone() } else { format!("{data}-{number}").into() });
            let lock = DataDir::try_lock(&folder).map_err(|error| DataDir::cannot(&folder, &error))?;
            if let Some(lock) = lock {
                if number > 1 {
                    info!(folder = %folder.display(), "another worker has the data folder; this one keeps its index here");
                }
                return Ok((lock, folder));
            }
        }
    }
    let folder = within(config.data.clone());
    Ok((lock(&folder)?, folder))
}

/// This worker's id in the group, kept in its folder; a shadow comes and goes without.
///
/// # Errors
/// Where it can be neither read nor made.
pub(super) fn member(folder: &Path, is_shadow: bool) -> Result<Option<String>, Failure> {
    if is_shadow {
        return Ok(None);
    }
    ownership::member_id(folder).map(Some).map_err(|error| DataDir::cannot(folder, &error))
}

/// Locks a folder that no worker may have now.
///
/// # Errors
/// Where it cannot be made, or a worker holds it.
pub(super) fn lock(folder: &Path) -> Result<DataDir, Failure> {
    DataDir::lock(folder, "dedup-worker", "DEDUP_DATA")
}

/// Starts the admin port.
///
/// # Errors
/// Where it cannot be listened on.
pub(super) fn admin(config: &Config, admin: Arc<dyn Admin>) -> Result<AdminServer, Failure> {
    let listen = config.admin_listen;
    let started = match AdminServer::start(listen, Arc::clone(&admin)) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && listen == Config::default().admin_listen => {
            info!(taken = %listen, "another process has the admin port; this worker takes a free one");
            AdminServer::start(SocketAddr::new(listen.ip(), 0), admin)
        }
        started => started,
    };
    started.map_err(Failure::failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_the_settings_is_had_by_one_worker_and_a_shadow_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data: dir.path().join("indexes"), ..Config::default() };
        let (_held, path) = folder(&config, false).unwrap();
        assert_eq!(path, config.data);
        let refused = folder(&config, false).unwrap_err().to_string();
        assert!(refused.contains("in use by another dedup-worker") && refused.contains("DEDUP_DATA"), "{refused}");
        let (_shadow, beside) = folder(&config, true).unwrap();
        assert_eq!(beside, config.data.join("shadow"));
        let ids = [&path, &path, &beside].map(|folder| member(folder, *folder == beside).unwrap());
        assert!(ids[0].is_some() && ids[0] == ids[1] && ids[2].is_none(), "{ids:?}");
    }
}
