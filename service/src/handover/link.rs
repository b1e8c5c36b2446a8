//! The socket between the two processes: datagrams in order, each with at most one open file.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, recvmsg, sendmsg,
    socket_with, sockopt,
};

use super::message::{BYTES_MAX, Message};

/// Name of the socket in the data folder.
const NAME: &str = "take-over.sock";
/// Processes that may wait to be heard.
const BACKLOG: i32 = 4;
/// Longest time that the other side may take nothing of what is sent to it.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

/// The address in a folder. A path by way of the open folder is short however long the folder's is.
fn address(dir: &File) -> io::Result<SocketAddrUnix> {
    use std::os::fd::AsRawFd as _;
    Ok(SocketAddrUnix::new(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()))?)
}

fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

/// Where the next process is waited for.
#[derive(Debug)]
pub(super) struct Door(OwnedFd);

impl Door {
    /// In the folder of a process that holds it: what lies there from an earlier one is nobody's.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let _ = std::fs::remove_file(dir.join(NAME));
        let folder = File::open(dir)?;
        let door = socket()?;
        bind(&door, &address(&folder)?)?;
        listen(&door, BACKLOG)?;
        Ok(Self(door))
    }

    /// The next process, if one waits and is the same user's. Another user's is turned away.
    pub(super) fn accept(&self) -> io::Result<Option<Link>> {
        match accept_with(&self.0, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(fd) => Link::checked(fd).map(Some),
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One end.
#[derive(Debug)]
pub(super) struct Link {
    fd: OwnedFd,
    /// The process at the other end.
    pub(super) peer: rustix::process::Pid,
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Link {
    /// To the process that holds the folder; `None` where nobody waits there.
    pub(super) fn connect(dir: &Path) -> io::Result<Option<Self>> {
        let folder = match File::open(dir) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let fd = socket()?;
        match connect(&fd, &address(&folder)?) {
            Ok(()) => Self::checked(fd).map(Some),
            // No such file, or one that a process has left behind.
            Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Files go to and are taken from the same user's processes alone.
    fn checked(fd: OwnedFd) -> io::Result<Self> {
        let peer = sockopt::socket_peercred(&fd)?;
        let own = rustix::process::geteuid();
        if peer.uid != own {
            let says = format!("the process {} is user {}'s, not {}'s", peer.pid, peer.uid.as_raw(), own.as_raw());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, says));
        }
        Ok(Self { fd, peer: peer.pid })
    }

    /// Waits until there is something to read, up to `until`; whether there is.
    fn wait(&self, until: Instant) -> io::Result<bool> {
        loop {
            let left = timespec(until.saturating_duration_since(Instant::now()));
            match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&left)) {
                Ok(count) => return Ok(count > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(super) fn send(&self, message: &Message, file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let bytes = message.encode();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = file.map(|file| [file]);
        if let Some(files) = &files {
            control.push(SendAncillaryMessage::ScmRights(files));
        }
        let until = Instant::now() + SEND_TIMEOUT;
        loop {
            match sendmsg(&self.fd, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    let mut fds = [PollFd::new(&self.fd, PollFlags::OUT)];
                    let _ = poll(&mut fds, Some(&timespec(left)));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next message, and the file that came with it. `UnexpectedEof` where the other side is gone, `TimedOut` where it
    /// says nothing in time.
    pub(super) fn receive(&self, until: Instant) -> io::Result<(Message, Option<OwnedFd>)> {
        if !self.wait(until)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut bytes = vec![0; BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = match recvmsg(
            &self.fd,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
        ) {
            Err(Errno::CONNRESET) => return Err(io::ErrorKind::UnexpectedEof.into()),
            other => other?,
        };
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut file = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut files) = message {
                file = files.next();
            }
        }
        let message = Message::parse(&bytes[..received.bytes]);
        message.map(|message| (message, file)).ok_or_else(|| io::Error::other("an unknown message"))
    }
}

/// Waits, without a thread of its own, until there is something to read. The runtime looks at a copy of the socket; that
/// it is one of datagrams makes no difference to that.
pub(super) async fn readable(of: &impl AsFd) -> io::Result<()> {
    let copy = std::os::unix::net::UnixStream::from(of.as_fd().try_clone_to_owned()?);
    tokio::net::UnixStream::from_std(copy)?.readable().await
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}
