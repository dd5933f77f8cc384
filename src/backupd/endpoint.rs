//! Where the server listens: parsing `--listen`, binding or inheriting, accepting.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::sys::socket::{
    AddressFamily, SockaddrLike, SockaddrStorage, getsockname, getsockopt, setsockopt, sockopt,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::master::{Master, Taken};
use super::peer::Peer;

/// Argument of `--listen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `ADDR:PORT`; `:PORT` and `*:PORT` mean every address.
    Tcp(String),
    /// `/path`: peers are trusted.
    Unix(PathBuf),
}

/// The argument is neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected ADDRESS:PORT (like 127.0.0.1:2005 or [::]:2005) or an absolute /path")]
pub struct InvalidEndpoint;

/// A bound socket.
pub struct Listener {
    kind: Kind,
    name: String,
    /// TLS from the first octet.
    tls: bool,
}

enum Kind {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// Removed at the end, when we made it.
        path: Option<PathBuf>,
    },
    Master(Taken),
}

/// What a session needs of a socket.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for S {}

/// A new connection.
pub(crate) struct Accepted {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) peer: Peer,
    /// The peer begins with a TLS handshake.
    pub(crate) tls: bool,
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Endpoint, InvalidEndpoint> {
        if text.starts_with('/') {
            return Ok(Endpoint::Unix(text.into()));
        }
        let (host, port) = text.rsplit_once(':').ok_or(InvalidEndpoint)?;
        port.parse::<u16>().map_err(|_| InvalidEndpoint)?;
        match host {
            "" | "*" => Ok(Endpoint::Tcp(format!("[::]:{port}"))),
            // An IPv6 address without brackets is ambiguous.
            _ if host.contains(':') && !host.starts_with('[') => Err(InvalidEndpoint),
            _ => Ok(Endpoint::Tcp(text.to_owned())),
        }
    }
}

impl Listener {
    /// Binds. A socket file left over by a dead server is replaced, one of a living server is not.
    pub async fn bind(endpoint: &Endpoint) -> io::Result<Listener> {
        match endpoint {
            Endpoint::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let name = listener.local_addr()?.to_string();
                Ok(Listener {
                    kind: Kind::Tcp(listener),
                    name,
                    tls: false,
                })
            }
            Endpoint::Unix(path) => {
                remove_stale(path).await?;
                let listener = UnixListener::bind(path)?;
                let name = path.display().to_string();
                Ok(Listener {
                    kind: Kind::Unix {
                        listener,
                        path: Some(path.clone()),
                    },
                    name,
                    tls: false,
                })
            }
        }
    }

    /// A listening socket that systemd opened.
    pub fn from_fd(socket: OwnedFd) -> io::Result<Listener> {
        if !getsockopt(&socket, sockopt::AcceptConn)? {
            let text = "the socket does not listen; for one process per connection use -X";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let name = local_name(&socket);
        let kind = match is_unix(&socket)? {
            true => {
                let listener = std::os::unix::net::UnixListener::from(socket);
                listener.set_nonblocking(true)?;
                let listener = UnixListener::from_std(listener)?;
                Kind::Unix {
                    listener,
                    path: None,
                }
            }
            false => {
                let listener = std::net::TcpListener::from(socket);
                listener.set_nonblocking(true)?;
                Kind::Tcp(TcpListener::from_std(listener)?)
            }
        };
        Ok(Listener {
            kind,
            name,
            tls: false,
        })
    }

    /// The socket of Cyrus' master.
    pub fn from_master(master: Master) -> io::Result<Listener> {
        let taken = master.start()?;
        Ok(Listener {
            name: local_name(&taken.socket),
            kind: Kind::Master(taken),
            tls: false,
        })
    }

    /// Peers of the network come here, and must log in.
    pub fn is_networked(&self) -> bool {
        match &self.kind {
            Kind::Tcp(_) => true,
            Kind::Unix { .. } => false,
            Kind::Master(taken) => !is_unix(&taken.socket).unwrap_or(false),
        }
    }

    /// Its peers begin with a TLS handshake, without STARTTLS.
    pub fn with_tls(mut self) -> Listener {
        self.tls = true;
        self
    }

    /// The bound address, when it is a TCP socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            Kind::Unix { .. } | Kind::Master(_) => None,
        }
    }

    /// Takes no more connections. With a master, one may have been taken already, and must not get lost:
    /// accept until there are none. True when that is now.
    pub(crate) fn end(&mut self) -> bool {
        match &mut self.kind {
            Kind::Tcp(_) | Kind::Unix { .. } => true,
            Kind::Master(taken) => {
                taken.end();
                false
            }
        }
    }

    /// The next connection; `None` when there will be no more. A peer that is gone again already is no
    /// error of the socket.
    pub(crate) async fn accept(&mut self) -> io::Result<Option<Accepted>> {
        loop {
            let accepted = match &mut self.kind {
                Kind::Tcp(listener) => tcp(listener.accept().await?.0, self.tls),
                Kind::Unix { listener, .. } => Ok(unix(listener.accept().await?.0)),
                Kind::Master(taken) => match taken.next().await {
                    None => return Ok(None),
                    Some(socket) => inherited(socket, self.tls),
                },
            };
            match accepted {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(error) => tracing::debug!("{}: a peer left at once: {error}", self.name),
            }
        }
    }
}

fn inherited(socket: OwnedFd, tls: bool) -> io::Result<Accepted> {
    if is_unix(&socket)? {
        let stream = std::os::unix::net::UnixStream::from(socket);
        stream.set_nonblocking(true)?;
        return Ok(unix(UnixStream::from_std(stream)?));
    }
    let stream = std::net::TcpStream::from(socket);
    stream.set_nonblocking(true)?;
    tcp(TcpStream::from_std(stream)?, tls)
}

fn tcp(stream: TcpStream, tls: bool) -> io::Result<Accepted> {
    let peer = Peer::Address(canonical(stream.peer_addr()?));
    stream.set_nodelay(true)?;
    setsockopt(&stream, sockopt::KeepAlive, &true)?;
    let stream = Box::new(stream);
    Ok(Accepted { stream, peer, tls })
}

fn unix(stream: UnixStream) -> Accepted {
    Accepted {
        stream: Box::new(stream),
        peer: Peer::Trusted,
        tls: false,
    }
}

fn is_unix(socket: &OwnedFd) -> io::Result<bool> {
    let address = getsockname::<SockaddrStorage>(socket.as_raw_fd())?;
    Ok(address.family() == Some(AddressFamily::Unix))
}

/// For the log.
fn local_name(socket: &OwnedFd) -> String {
    match getsockname::<SockaddrStorage>(socket.as_raw_fd()) {
        Ok(address) => address.to_string(),
        Err(_) => format!("descriptor {}", socket.as_raw_fd()),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => f.write_str(address),
            Endpoint::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Kind::Unix {
            path: Some(path), ..
        } = &self.kind
        {
            // Gone already, or not ours to remove: the next start copes with both.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn canonical(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

async fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "exists and is no socket",
            ));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another server listens there",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let tcp = |text: &str| Ok(Endpoint::Tcp(text.to_owned()));
        assert_eq!("127.0.0.1:2005".parse(), tcp("127.0.0.1:2005"));
        assert_eq!("localhost:0".parse(), tcp("localhost:0"));
        assert_eq!("[::1]:2005".parse(), tcp("[::1]:2005"));
        assert_eq!(":2005".parse(), tcp("[::]:2005"));
        assert_eq!("*:2005".parse(), tcp("[::]:2005"));
        assert_eq!("/run/x".parse(), Ok(Endpoint::Unix("/run/x".into())));
        for bad in [
            "",
            "2005",
            "host",
            "host:",
            "host:x",
            "host:70000",
            "::1:2005",
            "run/x",
        ] {
            assert_eq!(bad.parse::<Endpoint>(), Err(InvalidEndpoint), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_dead_socket_file_is_replaced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::Unix(dir.path().join("s"));
        let first = Listener::bind(&endpoint).await.unwrap();
        assert!(Listener::bind(&endpoint).await.is_err(), "alive");
        drop(first);
        assert!(!dir.path().join("s").exists());
        drop(std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap());
        Listener::bind(&endpoint).await.unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "mail").unwrap();
        assert!(Listener::bind(&Endpoint::Unix(file.clone())).await.is_err());
        assert_eq!(std::fs::read(file).unwrap(), b"mail");
    }
}
