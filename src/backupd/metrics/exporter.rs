//! Answers `GET /metrics`, and nothing else. One request for a connection, within some seconds and some
//! kilobytes, a few at a time: whoever reaches the port can slow nothing down.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::super::order::Order;
use super::{Metrics, page, unix_time};
use crate::store::{Placement, marks};

/// From the connection to the end of the answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Octets of a request.
const HEAD: usize = 8 << 10;
/// Requests at a time; others wait in the kernel.
const AT_ONCE: usize = 4;
/// All data files are looked at no more often than this.
const AGES_KEPT: Duration = Duration::from_secs(15);
/// An older process may have the port until it is done.
const BIND_AGAIN: Duration = Duration::from_secs(1);

/// Argument of `--metrics`: `ADDRESS:PORT`, or a port of the loopback address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsAddress(SocketAddr);

impl std::fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The argument is neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected PORT, which is 127.0.0.1:PORT, or ADDRESS:PORT with an address in digits")]
pub struct InvalidMetricsAddress;

/// The page and where its figures come from.
pub struct Exporter {
    metrics: Arc<Metrics>,
    placement: Arc<Placement>,
    ages: Mutex<Option<(Instant, Arc<[u64]>)>>,
}

impl FromStr for MetricsAddress {
    type Err = InvalidMetricsAddress;

    fn from_str(text: &str) -> Result<MetricsAddress, InvalidMetricsAddress> {
        let port = text.strip_prefix(':').unwrap_or(text).parse::<u16>();
        match port {
            Ok(port) => Ok(MetricsAddress((Ipv4Addr::LOCALHOST, port).into())),
            Err(_) => text
                .parse()
                .map(MetricsAddress)
                .map_err(|_| InvalidMetricsAddress),
        }
    }
}

impl Exporter {
    /// Shows `metrics`, and the age of every backup of `placement`.
    pub fn new(metrics: Arc<Metrics>, placement: Arc<Placement>) -> Arc<Exporter> {
        Arc::new(Exporter {
            metrics,
            placement,
            ages: Mutex::default(),
        })
    }

    /// Listens, and answers in the background until ordered otherwise. Where `patient`, a port that is in
    /// use is waited for: under the master, the process before this one may still have it.
    ///
    /// # Errors
    /// Those of bind(2).
    pub async fn start(
        self: Arc<Exporter>,
        MetricsAddress(address): MetricsAddress,
        patient: bool,
        mut orders: watch::Receiver<Order>,
    ) -> io::Result<()> {
        let listener = match TcpListener::bind(address).await {
            Err(error) if !patient => return Err(error),
            listener => listener,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = self.serve(listener, address) => {}
                // The next process needs the port.
                _ = orders.wait_for(|order| *order != Order::Serve) => {}
            }
        });
        Ok(())
    }

    async fn serve(self: Arc<Exporter>, listener: io::Result<TcpListener>, address: SocketAddr) {
        let listener = listening(listener, address).await;
        let name = listener.local_addr().unwrap_or(address);
        tracing::info!("metrics on http://{name}/metrics");
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            // It is never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let exporter = Arc::clone(&self);
                    tokio::spawn(async move {
                        // What goes wrong with a request is its sender's trouble.
                        let _ = timeout(LIMIT, exporter.answer(stream)).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::error!("metrics: accept failed: {error}");
                    sleep(BIND_AGAIN).await;
                }
            }
        }
    }

    async fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let request = head(&mut stream).await?;
        let answer = match wanted(&request) {
            Wanted::Page { with_body } => {
                let text = page::page(&self.metrics, &self.ages().await);
                let body = if with_body { text.as_str() } else { "" };
                response("200 OK", text.len(), body)
            }
            Wanted::Nothing(status) => response(status, 0, ""),
        };
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    }

    /// The age of every backup, as of some seconds ago at most.
    async fn ages(&self) -> Arc<[u64]> {
        let mut kept = self.ages.lock().await;
        if let Some((time, ages)) = kept.as_ref()
            && time.elapsed() < AGES_KEPT
        {
            return Arc::clone(ages);
        }
        let (metrics, placement) = (Arc::clone(&self.metrics), Arc::clone(&self.placement));
        let looked = spawn_blocking(move || look(&metrics, &placement)).await;
        let ages: Arc<[u64]> = looked.unwrap_or_default().into();
        *kept = Some((Instant::now(), Arc::clone(&ages)));
        ages
    }
}

async fn listening(mut listener: io::Result<TcpListener>, address: SocketAddr) -> TcpListener {
    let mut complained = false;
    loop {
        match listener {
            Ok(listener) => return listener,
            Err(error) if !complained => {
                tracing::warn!("metrics: cannot listen on {address} yet: {error}");
                complained = true;
            }
            Err(_) => {}
        }
        sleep(BIND_AGAIN).await;
        listener = TcpListener::bind(address).await;
    }
}

/// How long ago each backup had its last success: what sessions of this process saw, or else when the
/// data file was last written. Backups of deleted users do not count.
fn look(metrics: &Metrics, placement: &Placement) -> Vec<u64> {
    let backups = placement.catalog().iter().unwrap_or_else(|error| {
        tracing::warn!("metrics: {}", error.detail());
        Vec::new()
    });
    let now = unix_time(SystemTime::now());
    let seen: HashMap<String, u64> = metrics
        .seen()
        .iter()
        .map(|(key, time)| (key.as_str().to_owned(), *time))
        .collect();
    let mut ages = Vec::with_capacity(backups.len());
    for (key, path) in backups {
        if marks::Kind::Deleted.path(&path).exists() {
            continue;
        }
        let modified = std::fs::metadata(&path).and_then(|meta| meta.modified());
        let written = modified.map_or(0, unix_time);
        let last = seen.get(&key).map_or(written, |&seen| seen.max(written));
        ages.push(now.saturating_sub(last));
    }
    ages
}

/// A request up to its empty line.
async fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

enum Wanted {
    Page {
        with_body: bool,
    },
    /// The status instead.
    Nothing(&'static str),
}

fn wanted(request: &[u8]) -> Wanted {
    let line = request
        .split(|&byte| byte == b'\r')
        .next()
        .unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let (method, target) = (words.next(), words.next());
    let path = target.and_then(|target| target.split(|&byte| byte == b'?').next());
    let with_body = match method {
        Some(b"GET") => true,
        Some(b"HEAD") => false,
        _ => return Wanted::Nothing("405 Method Not Allowed"),
    };
    match path {
        Some(b"/metrics" | b"/") => Wanted::Page { with_body },
        _ => Wanted::Nothing("404 Not Found"),
    }
}

fn response(status: &str, length: usize, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_the_loopback_address() {
        let parsed = |text: &str| {
            text.parse::<MetricsAddress>()
                .map(|MetricsAddress(a)| a.to_string())
        };
        assert_eq!(parsed("9105"), Ok("127.0.0.1:9105".to_owned()));
        assert_eq!(parsed(":9105"), Ok("127.0.0.1:9105".to_owned()));
        assert_eq!(parsed("0.0.0.0:1"), Ok("0.0.0.0:1".to_owned()));
        assert_eq!(parsed("[::1]:9105"), Ok("[::1]:9105".to_owned()));
        for bad in ["", "host:1", "127.0.0.1", "70000", "::1:x"] {
            assert_eq!(parsed(bad), Err(InvalidMetricsAddress), "{bad}");
        }
    }

    #[test]
    fn only_one_page_is_served() {
        let status = |text: &str| match wanted(text.as_bytes()) {
            Wanted::Page { with_body: true } => "page",
            Wanted::Page { with_body: false } => "head",
            Wanted::Nothing(status) => status,
        };
        assert_eq!(status("GET /metrics HTTP/1.1\r\n\r\n"), "page");
        assert_eq!(status("GET /metrics?x=1 HTTP/1.0\r\n\r\n"), "page");
        assert_eq!(status("HEAD / HTTP/1.1\r\n\r\n"), "head");
        assert_eq!(status("GET /etc/passwd HTTP/1.1\r\n\r\n"), "404 Not Found");
        assert_eq!(
            status("POST /metrics HTTP/1.1\r\n\r\n"),
            "405 Method Not Allowed"
        );
        assert_eq!(status("\r\n\r\n"), "405 Method Not Allowed");
    }
}
