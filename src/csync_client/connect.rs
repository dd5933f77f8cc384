//! The way in: a socket, the banner, TLS, login, compression (spec: csync 1).

use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::channel::{Channel, Stream};
use super::client::Result;
use super::dialect::{Dialect, imap_capabilities};
use super::login::Credentials;
use super::{Address, Client, ClientError, TlsMode, TlsSettings, tls};

/// Capability lines before a banner must end.
const LONGEST_BANNER: usize = 100;

/// Where and how to connect.
pub struct Connect<'a> {
    /// The server.
    pub address: &'a Address,
    /// What to try, one after the other, when the address has no port.
    pub services: &'a [Service],
    /// With what to log in.
    pub credentials: &'a Credentials,
    /// TLS.
    pub tls: &'a TlsSettings,
    /// COMPRESS.
    pub compression: Compression,
    /// Until connected, greeted and logged in.
    pub patience: Duration,
    /// For one answer after that.
    pub answer_patience: Duration,
}

/// A port by name, or else by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service(pub String);

/// When to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Over a network, when it is offered. On the same machine it would only cost time.
    Remote,
    /// Always; it is an error when it is not offered.
    Required,
}

impl Client {
    /// Gets in.
    ///
    /// # Errors
    /// Whatever is in the way; the first service that answers is the one that counts.
    pub fn open(connect: &Connect<'_>) -> Result<Client> {
        let (channel, socket) = connect.socket()?;
        let mut client = match connect.address {
            Address::Host {
                host, tls: true, ..
            } => Client::greeted(channel.wrap(|stream| tls::wrap(stream, host, connect.tls))?)?,
            _ => Client::greeted(channel)?,
        };
        if let Address::Host {
            host, tls: false, ..
        } = connect.address
        {
            match client.offers_starttls() {
                true if connect.tls.mode != TlsMode::Off => {
                    client = client.starttls(host, connect.tls)?;
                }
                false if connect.tls.mode == TlsMode::Require => {
                    return Err(ClientError::Tls("the server does not offer it".to_owned()));
                }
                _ => {}
            }
        }
        let noauth = matches!(connect.address, Address::Host { noauth: true, .. });
        if client.wants_login() && !noauth {
            client.authenticate(connect.host(), connect.credentials)?;
        }
        socket.set_patience(connect.answer_patience)?;
        if connect.compression == Compression::Required || !socket.is_near() {
            client.compress(connect.compression)?;
        }
        Ok(client)
    }

    /// Reads the banner and learns from it who this is.
    pub(super) fn greeted(channel: Channel) -> Result<Client> {
        let mut client = Client::over(channel, Dialect::Csync);
        client.read_banner()?;
        Ok(client)
    }

    fn read_banner(&mut self) -> Result<()> {
        self.capabilities.clear();
        for _ in 0..LONGEST_BANNER {
            let line = self.plain_line("the banner")?;
            let text = String::from_utf8_lossy(&line);
            let Some(text) = text.strip_prefix("* ") else {
                return Err(ClientError::malformed(
                    &line,
                    "a banner has only `* ` lines",
                ));
            };
            if self.capabilities.is_empty() && text.contains("[CAPABILITY IMAP4") {
                self.dialect = Dialect::Imap(0);
                self.capabilities = imap_capabilities(text);
                return Ok(());
            }
            if text
                .get(..2)
                .is_some_and(|word| word.eq_ignore_ascii_case("OK"))
            {
                return Ok(());
            }
            self.capabilities.push(text.to_owned());
        }
        Err(ClientError::malformed(b"", "the banner does not end"))
    }

    fn is_imap(&self) -> bool {
        matches!(self.dialect, Dialect::Imap(_))
    }

    /// The mechanisms that the server offers.
    pub(super) fn mechanisms(&self) -> Vec<&str> {
        let each = self.capabilities.iter();
        match self.dialect {
            Dialect::Csync => each
                .filter_map(|line| line.strip_prefix("SASL "))
                .flat_map(|list| list.split(' '))
                .collect(),
            Dialect::Imap(_) => each.filter_map(|word| word.strip_prefix("AUTH=")).collect(),
        }
    }

    fn offers_starttls(&self) -> bool {
        self.capabilities.iter().any(|line| line == "STARTTLS")
    }

    fn starttls(mut self, host: &str, settings: &TlsSettings) -> Result<Client> {
        let (command, tag) = match self.is_imap() {
            true => ("S01 STARTTLS\r\n", "S01 "),
            false => ("STARTTLS\r\n", ""),
        };
        self.send(command.as_bytes())?;
        self.flush("STARTTLS")?;
        let answer = self.tagged_line("STARTTLS", tag)?;
        if !answer.starts_with("OK") {
            return Err(ClientError::Tls(format!("the server answers {answer:?}")));
        }
        let dialect = self.dialect;
        let channel = self
            .channel
            .wrap(|stream| tls::wrap(stream, host, settings))?;
        let mut client = Client::over(channel, dialect);
        match dialect {
            // The banner comes again, and may offer more now.
            Dialect::Csync => client.read_banner()?,
            Dialect::Imap(_) => client.ask_imap_capabilities()?,
        }
        Ok(client)
    }

    /// The next line that is not untagged, without its tag.
    pub(super) fn tagged_line(&mut self, doing: &str, tag: &str) -> Result<String> {
        loop {
            let line = self.plain_line(doing)?;
            if tag.is_empty() || !line.starts_with(b"* ") {
                let text = String::from_utf8_lossy(&line).into_owned();
                return Ok(text.strip_prefix(tag).unwrap_or(&text).to_owned());
            }
        }
    }

    pub(super) fn ask_imap_capabilities(&mut self) -> Result<()> {
        self.send(b"C01 CAPABILITY\r\n")?;
        self.flush("CAPABILITY")?;
        loop {
            let line = self.plain_line("CAPABILITY")?;
            let text = String::from_utf8_lossy(&line);
            if let Some(list) = text.strip_prefix("* CAPABILITY ") {
                self.capabilities = list.split(' ').map(str::to_owned).collect();
            } else if !text.starts_with("* ") {
                return Ok(());
            }
        }
    }

    fn compress(&mut self, compression: Compression) -> Result<()> {
        let offer = match self.dialect {
            Dialect::Csync => "COMPRESS DEFLATE",
            Dialect::Imap(_) => "COMPRESS=DEFLATE",
        };
        if !self.capabilities.iter().any(|line| line == offer) {
            return match compression {
                Compression::Required => Err(ClientError::NoCompression),
                Compression::Remote => Ok(()),
            };
        }
        let (command, tag) = match self.is_imap() {
            true => ("Z01 COMPRESS DEFLATE\r\n", "Z01 "),
            false => ("COMPRESS DEFLATE\r\n", ""),
        };
        self.send(command.as_bytes())?;
        self.flush("COMPRESS")?;
        let answer = self.tagged_line("COMPRESS", tag)?;
        if answer.starts_with("OK ") {
            self.channel.compress();
            return Ok(());
        }
        Err(ClientError::Refused {
            command: "COMPRESS".to_owned(),
            answer,
        })
    }
}

impl Connect<'_> {
    fn host(&self) -> &str {
        match self.address {
            Address::Host { host, .. } => host,
            Address::Socket(_) => "localhost",
        }
    }

    /// A connected socket, once to talk over and once to set.
    fn socket(&self) -> Result<(Channel, Socket)> {
        let doing = format!("connecting to {}", self.address);
        let failed = ClientError::io(&doing);
        let connected = match self.address {
            Address::Socket(path) => UnixStream::connect(path).map(Socket::Unix),
            Address::Host { host, port, .. } => self.dial_any(host, port.as_ref()),
        };
        let (channel, socket) = connected
            .and_then(|socket| Ok((socket.channel()?, socket)))
            .map_err(failed)?;
        socket.set_patience(self.patience)?;
        Ok((channel, socket))
    }

    /// The first service that answers; if none does, why the first does not.
    fn dial_any(&self, host: &str, port: Option<&String>) -> std::io::Result<Socket> {
        let written: Vec<Service> = port.cloned().map(Service).into_iter().collect();
        let services = match port {
            Some(_) => written.as_slice(),
            None => self.services,
        };
        let mut first = None;
        for service in services {
            match self.dial(host, service) {
                Ok(socket) => return Ok(Socket::Tcp(socket)),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into()))
    }

    fn dial(&self, host: &str, service: &Service) -> std::io::Result<TcpStream> {
        let mut last = None;
        for address in (host, service.port()?).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.patience) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into()))
    }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn channel(&self) -> std::io::Result<Channel> {
        let stream: Box<dyn Stream> = match self {
            Socket::Tcp(socket) => {
                socket.set_nodelay(true)?;
                Box::new(socket.try_clone()?)
            }
            Socket::Unix(socket) => Box::new(socket.try_clone()?),
        };
        Ok(Channel::new(stream))
    }

    fn set_patience(&self, patience: Duration) -> Result<()> {
        let patience = Some(patience);
        match self {
            Socket::Tcp(socket) => socket
                .set_read_timeout(patience)
                .and_then(|()| socket.set_write_timeout(patience)),
            Socket::Unix(socket) => socket
                .set_read_timeout(patience)
                .and_then(|()| socket.set_write_timeout(patience)),
        }
        .map_err(ClientError::io("the socket"))
    }

    /// The other end is on this machine.
    fn is_near(&self) -> bool {
        let Socket::Tcp(socket) = self else {
            return true;
        };
        let ip = |address: std::io::Result<std::net::SocketAddr>| address.map(|a| a.ip()).ok();
        let peer = ip(socket.peer_addr());
        peer.as_ref().is_some_and(IpAddr::is_loopback) || peer == ip(socket.local_addr())
    }
}

impl Service {
    /// Its number: as written, from /etc/services, or as everybody knows it.
    fn port(&self) -> std::io::Result<u16> {
        if let Ok(port) = self.0.parse() {
            return Ok(port);
        }
        let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
        in_services(&services, &self.0)
            .or(match self.0.as_str() {
                "csync" => Some(2005),
                "imap" => Some(143),
                _ => None,
            })
            .ok_or_else(|| {
                let text = format!("nobody knows the port of service {:?}", self.0);
                std::io::Error::new(std::io::ErrorKind::InvalidInput, text)
            })
    }
}

/// `name port/tcp aliases # comment`
fn in_services(text: &str, name: &str) -> Option<u16> {
    text.lines().find_map(|line| {
        let line = line.split('#').next()?;
        let mut words = line.split_ascii_whitespace();
        let first = words.next()?;
        let port = words.next()?.strip_suffix("/tcp")?;
        (first == name || words.any(|alias| alias == name))
            .then(|| port.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_by_name_and_number() {
        let text = "# x\nimap2\t143/tcp\timap # Mail\nimap 99/udp\ncsync 2005/tcp\n";
        assert_eq!(in_services(text, "imap"), Some(143));
        assert_eq!(in_services(text, "csync"), Some(2005));
        assert_eq!(in_services(text, "imaps"), None);
        assert_eq!(Service("25".to_owned()).port().unwrap(), 25);
        assert!(Service("no-such-service".to_owned()).port().is_err());
    }
}
