//! Waits until everything that was acknowledged can have come out: the servers' backlogs are empty, and the output has
//! stopped growing. Between the two may lie topics and workers, whose lag shows only in an output that still grows: it
//! has to be at rest for longer than they ever pause.

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde::Serialize;
use service::remark;

use super::source::Source;
use crate::Error;
use crate::progress::Progress;
use crate::run::parse_target;

/// The gauge that counts acknowledged records which have not left the local buffer.
const BACKLOG: &str = "local_buffer_backlog_records";
const POLL_EVERY: Duration = Duration::from_millis(50);
/// For one look at the metrics.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a metrics page.
const METRICS_BYTES_MAX: u64 = 16 << 20;

/// How the wait ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Drained {
    /// The backlog was 0 and the output at rest.
    Yes,
    /// The output was at rest; why nothing is known of the backlog.
    OutputAtRest(String),
    /// Time ran out: what was still going on.
    No(String),
}

/// What one look at the servers' backlogs gave.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Backlog {
    Records(u64),
    Unknown(String),
}

/// Polls until backlog and output are at rest for `settle`, or `timeout` has passed.
pub(super) fn wait(admins: &[String], source: &Source, settle: Duration, timeout: Duration) -> Result<Drained, Error> {
    let mut progress = Progress::start();
    let start = Instant::now();
    let (mut at_rest_since, mut last) = (start, None);
    let mut has_warned = false;
    loop {
        let backlog = total(admins)?;
        let look = source.look()?;
        let now = Instant::now();
        let has_backlog = match &backlog {
            Backlog::Records(records) => *records > 0,
            Backlog::Unknown(why) => {
                if !has_warned {
                    has_warned = true;
                    remark(format_args!("{why}: going by the output alone, which must not grow for {settle:?}"));
                }
                false
            }
        };
        let is_going_on = has_backlog || look.unfinished.is_some() || last != Some(look.size);
        if is_going_on {
            at_rest_since = now;
        }
        last = Some(look.size);
        if now - at_rest_since >= settle && !has_backlog && look.unfinished.is_none() {
            progress.finish();
            return Ok(match backlog {
                Backlog::Records(_) => Drained::Yes,
                Backlog::Unknown(why) => Drained::OutputAtRest(why),
            });
        }
        let state = || {
            let mut state = match &backlog {
                Backlog::Records(records) => format!("backlog {records} records, "),
                Backlog::Unknown(_) => String::new(),
            };
            let _ = write!(state, "output {} {}", look.size, source.unit());
            if let Some(unfinished) = &look.unfinished {
                let _ = write!(state, ", {unfinished}");
            }
            state
        };
        if now - start >= timeout {
            progress.finish();
            return Ok(Drained::No(state()));
        }
        progress.show(|| format!("waiting for the output to settle: {}", state()));
        std::thread::sleep(POLL_EVERY);
    }
}

/// Of all servers, or why that of one is not known.
fn total(admins: &[String]) -> Result<Backlog, Error> {
    let mut total = 0_u64;
    let mut unknown = None;
    for admin in admins {
        match backlog(admin)? {
            Backlog::Records(records) => total += records,
            Backlog::Unknown(why) => unknown = unknown.or(Some(why)),
        }
    }
    // What one server is known to hold counts, whatever the others say.
    Ok(match unknown {
        Some(why) if total == 0 => Backlog::Unknown(why),
        _ => Backlog::Records(total),
    })
}

fn backlog(admin: &str) -> Result<Backlog, Error> {
    let (host, address) =
        parse_target(admin).map_err(|error| Error::Usage(error.to_string().replace("--target", "--admin")))?;
    let page = || -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, ADMIN_TIMEOUT)?;
        stream.set_read_timeout(Some(ADMIN_TIMEOUT))?;
        // 1.0: no chunks, and the end of the answer is the end of the connection.
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: {host}\r\n\r\n")?;
        let mut page = String::new();
        stream.take(METRICS_BYTES_MAX).read_to_string(&mut page)?;
        Ok(page)
    };
    Ok(match page() {
        Err(error) => Backlog::Unknown(format!("nothing answers at {admin} ({error})")),
        Ok(page) => match gauge(&page) {
            Some(records) => Backlog::Records(records),
            None => Backlog::Unknown(format!("{admin}/metrics has no {BACKLOG}")),
        },
    })
}

/// The gauge's value, summed over its label sets.
fn gauge(page: &str) -> Option<u64> {
    page.lines().fold(None, |sum, line| {
        let value = line.strip_prefix(BACKLOG).filter(|rest| rest.starts_with([' ', '{']));
        let value = value.and_then(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok());
        value.map_or(sum, |value| Some(sum.unwrap_or(0) + value.max(0.0).ceil() as u64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gauge_is_found_among_others() {
        let page = "HTTP/1.0 200 OK\r\n\r\n# TYPE local_buffer_backlog_records gauge\n\
                    local_buffer_backlog_records_max 9\nlocal_buffer_backlog_records{q=\"a b\"} 3\n\
                    local_buffer_backlog_records 4.0\n";
        assert_eq!(gauge(page), Some(7));
        assert_eq!(gauge("local_buffer_bytes 4\n"), None);
    }
}
