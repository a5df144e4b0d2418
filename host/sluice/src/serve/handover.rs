//! Hand-over of a running gateway to a new process, without a moment in which a client is refused.
//!
//! The new process (`sluice serve --take-over`) loads its configuration, compiles its policies, and
//! asks the old one by a socket in the data folder. The old one accepts no more. It ends the streams
//! that can go on in the new process, and lets go of the data folder. Then it gives its listening
//! sockets away. Whoever connects meanwhile waits in their backlog. All other streams go on in the
//! old process, for `drain_timeout` at the most.

use std::fs::{self, Permissions};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::geteuid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::lock::DataLock;
use gateway::server::ACCEPT_PAUSE;

/// Name of the socket in the data folder.
const NAME: &str = "handover.sock";
/// What the new process says. Another program that connects changes nothing.
const REQUEST: &[u8] = b"sluice take-over 1";
/// Time in which it says so.
const PATIENCE: Duration = Duration::from_secs(1);
/// What goes with the sockets. A process that says something else is of another version.
const GREETING: &[u8] = b"sluice hand-over 1";
/// Maximum number of listening sockets.
const MAX_SOCKETS: usize = 64;
/// Maximum time that the new process waits for the old one.
const LONGEST: Duration = Duration::from_secs(120);

/// Offer to hand over, until this is dropped.
#[derive(Debug)]
pub(super) struct Offer {
    socket: Option<UnixListener>,
    path: PathBuf,
}

/// A process that takes over.
#[derive(Debug)]
pub(super) struct Successor(UnixStream);

impl Offer {
    /// Offers to hand over to a process of the same user, if the data folder is locked. Without such a
    /// socket the gateway serves all the same.
    pub(super) fn begin(data_dir: &Path, lock: &DataLock) -> Self {
        let path = data_dir.join(NAME);
        let listen = || {
            let socket = listen(&path).inspect_err(|error| {
                let socket = path.display();
                tracing::warn!(%socket, %error, "nobody can take over from this gateway");
            });
            socket.ok()
        };
        let socket = lock.is_held().then(listen).flatten();
        Self { socket, path }
    }

    /// Waits for a process that wants to take over.
    pub(super) async fn successor(&self) -> Successor {
        let Some(socket) = &self.socket else {
            return std::future::pending().await;
        };
        loop {
            match socket.accept().await {
                Ok((mut stream, _)) if is_same_user(&stream) => {
                    let mut request = [0; REQUEST.len()];
                    let read = timeout(PATIENCE, stream.read_exact(&mut request)).await;
                    if matches!(read, Ok(Ok(_))) && request == REQUEST {
                        return Successor(stream);
                    }
                    tracing::warn!("a program connected to the hand-over socket and did not ask");
                }
                Ok(_) => tracing::warn!("a process of another user wanted to take over"),
                Err(error) => {
                    tracing::warn!(%error, "the hand-over socket could not accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if self.socket.is_some() {
            // Where it is gone already, that is well.
            drop(fs::remove_file(&self.path));
        }
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    // Of a process that was killed: whoever has the lock is alone.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(socket)
}

fn is_same_user(stream: &UnixStream) -> bool {
    let peer = stream.peer_cred().map(|peer| peer.uid());
    peer.is_ok_and(|uid| uid == geteuid().as_raw() || uid == 0)
}

impl Successor {
    /// Gives the sockets away.
    ///
    /// # Errors
    /// If the other process is gone.
    pub(super) async fn give(self, sockets: &[OwnedFd]) -> io::Result<()> {
        let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(|socket| socket.as_fd()).collect();
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
                return Err(io::Error::other("there are too many listening sockets"));
            }
            let greeting = [IoSlice::new(GREETING)];
            Ok(sendmsg(
                &self.0,
                &greeting,
                &mut control,
                SendFlags::NOSIGNAL,
            )?)
        };
        self.0.async_io(Interest::WRITABLE, send).await.map(drop)
    }
}

/// Asks the gateway that serves from this folder for its listening sockets, and waits until it has
/// let go of the folder. Gives none if no gateway runs.
///
/// # Errors
/// If the other gateway does not answer, or ends without handing over.
pub(super) async fn take_over(data_dir: &Path) -> anyhow::Result<Vec<TcpListener>> {
    let path = data_dir.join(NAME);
    let mut stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::info!(socket = %path.display(), %error, "there is no gateway to take over from");
            return Ok(Vec::new());
        }
    };
    tracing::info!("taking over from the gateway that runs");
    let asked = stream.write_all(REQUEST).await;
    asked.context("the gateway that runs did not hand over")?;
    let received = timeout(
        LONGEST,
        stream.async_io(Interest::READABLE, || receive(&stream)),
    );
    let received = received
        .await
        .with_context(|| format!("the gateway that runs did not hand over within {LONGEST:?}"))?;
    let (greeting, sockets) = received.context("the gateway that runs did not hand over")?;
    ensure!(
        greeting == GREETING,
        "the gateway that runs ended without handing over, or is of another version"
    );
    Ok(sockets)
}

fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<TcpListener>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut greeting = [0; GREETING.len()];
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut greeting)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    let sockets = rights.flatten().map(TcpListener::from).collect();
    Ok((greeting[..received.bytes].to_vec(), sockets))
}
