//! The server on real sockets: limits of time and number, shutdown, a session that breaks down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::server::{Endpoint, Limits, Listener, Order, run};
use super::service::fake::Asked;
use super::test_rig::{LOGIN, Rig};

const SHORT: Duration = Duration::from_millis(300);

struct Server {
    address: SocketAddr,
    asked: Asked,
    orders: watch::Sender<Order>,
    task: JoinHandle<()>,
    rig: Rig,
}

impl Server {
    async fn start(limits: Limits) -> Server {
        Server::start_with(limits, Rig::new(), Vec::new()).await
    }

    async fn start_with(limits: Limits, rig: Rig, mut listeners: Vec<Listener>) -> Server {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        listeners.push(listener);
        let (orders, order) = watch::channel(Order::Serve);
        let task = tokio::spawn(run(listeners, Arc::clone(&rig.settings), limits, order));
        Server {
            address,
            asked: rig.asked.clone(),
            orders,
            task,
            rig,
        }
    }

    async fn client(&self) -> Client<TcpStream> {
        let mut client = Client(BufReader::new(
            TcpStream::connect(self.address).await.unwrap(),
        ));
        while !client.line().await.starts_with("* OK ") {}
        client
    }

    async fn admin(&self) -> Client<TcpStream> {
        let mut client = self.client().await;
        client.say(LOGIN).await;
        assert_eq!(client.line().await, "OK Success (no protection)\r\n");
        client
    }

    async fn finish(self) -> Vec<String> {
        self.orders.send_replace(Order::Stop);
        self.task.await.unwrap();
        drop(self.rig);
        self.asked.take()
    }
}

struct Client<S>(BufReader<S>);

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Client<S> {
    async fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    /// The next line; empty at the end.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        let _ = tokio::time::timeout(Duration::from_secs(20), read)
            .await
            .expect("an answer");
        line
    }

    async fn ask(&mut self, text: &str) -> String {
        self.say(text).await;
        self.line().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_one_byte_at_a_time_and_a_graceful_end() {
    let server = Server::start(Limits::default()).await;
    let mut client = server.client().await;
    for byte in format!("{LOGIN}GET USER anne\r\nNOOP\r\n").chars() {
        client.say(&byte.to_string()).await;
    }
    for answer in [
        "OK Success (no protection)",
        "OK Success",
        "OK Noop completed",
    ] {
        assert_eq!(client.line().await.trim_end(), answer);
    }
    let mut leaver = server.admin().await;
    assert_eq!(leaver.ask("EXIT\r\n").await, "OK Finished\r\n");
    assert_eq!(leaver.line().await, "");
    assert_eq!(server.finish().await, ["User(\"anne\")", "close", "close"]);
    assert_eq!(client.line().await, "BYE Server is going down\r\n");
    assert_eq!(client.line().await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_log_in_in_time_is_hung_up_on() {
    let limits = Limits {
        login: SHORT,
        ..Limits::default()
    };
    let server = Server::start(limits).await;
    let mut admin = server.admin().await;
    let mut slow = server.client().await;
    let begun = Instant::now();
    // A byte now and then does not help.
    while begun.elapsed() < 10 * SHORT {
        if slow.0.get_mut().write_all(b"N").await.is_err() {
            break;
        }
        tokio::time::sleep(SHORT / 10).await;
    }
    assert!(begun.elapsed() < 5 * SHORT);
    assert_eq!(
        admin.ask("NOOP\r\n").await,
        "OK Noop completed\r\n",
        "not subject to it"
    );
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_sessions_let_go_and_leave_at_last() {
    let limits = Limits {
        idle: 3 * SHORT,
        quiet: SHORT,
        ..Limits::default()
    };
    let server = Server::start(limits).await;
    let mut admin = server.admin().await;
    admin.ask("GET META anne\r\n").await;
    let begun = Instant::now();
    assert_eq!(admin.line().await, "", "closed without a word, as C does");
    let took = begun.elapsed();
    assert!(took >= 2 * SHORT && took < 10 * SHORT, "{took:?}");
    assert_eq!(server.finish().await, ["Meta(\"anne\")", "idle", "close"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_gets_its_share_and_no_more() {
    let server = Server::start(Limits {
        per_address: 2,
        ..Limits::default()
    })
    .await;
    let (first, _second) = (server.client().await, server.client().await);
    let third = TcpStream::connect(server.address).await.unwrap();
    let mut third = Client(BufReader::new(third));
    assert_eq!(
        third.line().await,
        "* BYE too many connections from this address\r\n"
    );
    assert_eq!(third.line().await, "");
    drop(first);
    for _ in 0..100 {
        let mut again = Client(BufReader::new(
            TcpStream::connect(server.address).await.unwrap(),
        ));
        if again.line().await.starts_with("* SASL") {
            server.finish().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the place of the first did not come back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_login_is_answered_late() {
    let mut rig = Rig::new();
    Arc::get_mut(&mut rig.settings).unwrap().failed_login_pause = SHORT;
    let server = Server::start_with(Limits::default(), rig, Vec::new()).await;
    let mut client = server.client().await;
    let begun = Instant::now();
    let answer = client.ask("AUTHENTICATE PLAIN AHJlcGwAd3Jvbmc=\r\n").await;
    assert_eq!(answer, "NO authentication failure\r\n");
    assert!(begun.elapsed() >= SHORT);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_breaks_down_takes_nobody_with_it() {
    let server = Server::start(Limits::default()).await;
    let mut other = server.admin().await;
    let mut broken = server.admin().await;
    assert_eq!(broken.ask("GET USER panic\r\n").await, "");
    assert_eq!(other.ask("GET USER anne\r\n").await, "OK Success\r\n");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_needs_no_login() {
    let rig = Rig::new();
    let path = rig.settings.staging_path.join("socket");
    let listener = Listener::bind(&Endpoint::Unix(path.clone())).await.unwrap();
    let server = Server::start_with(Limits::default(), rig, vec![listener]).await;
    let mut client = Client(BufReader::new(UnixStream::connect(&path).await.unwrap()));
    assert!(client.line().await.starts_with("* OK "));
    assert_eq!(client.ask("GET USER anne\r\n").await, "OK Success\r\n");
    let mut rest = Vec::new();
    client.say("EXIT\r\n").await;
    client.0.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"OK Finished\r\n");
    server.finish().await;
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_reads_nothing_does_not_stop_the_server() {
    let server = Server::start(Limits {
        idle: 20 * SHORT,
        ..Limits::default()
    })
    .await;
    let mut deaf = server.admin().await;
    let flood = "GET USER much\r\n".repeat(1000);
    let flooding = tokio::spawn(async move {
        let _ = deaf.0.get_mut().write_all(flood.as_bytes()).await;
        tokio::time::sleep(100 * SHORT).await;
        drop(deaf);
    });
    tokio::time::sleep(SHORT).await;
    let mut other = server.admin().await;
    assert_eq!(other.ask("NOOP\r\n").await, "OK Noop completed\r\n");
    let begun = Instant::now();
    server.finish().await;
    assert!(begun.elapsed() < Duration::from_secs(15));
    flooding.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_server_takes_nobody_new_and_waits_for_the_last() {
    let server = Server::start(Limits::default()).await;
    let mut last = server.admin().await;
    server.orders.send_replace(Order::Drain);
    // The listener closes some moments later.
    for round in 0.. {
        match TcpStream::connect(server.address).await {
            Err(_) => break,
            Ok(_) if round > 500 => panic!("still takes connections"),
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    assert!(!server.task.is_finished());
    assert_eq!(last.ask("GET USER anne\r\n").await, "OK Success\r\n");
    assert_eq!(last.ask("EXIT\r\n").await, "OK Finished\r\n");
    server.task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_server_retires_only_after_it_was_used() {
    let server = Server::start(Limits {
        retire: Some(SHORT),
        ..Limits::default()
    })
    .await;
    tokio::time::sleep(3 * SHORT).await;
    let mut client = server.client().await;
    tokio::time::sleep(3 * SHORT).await;
    assert_eq!(client.ask("NOOP\r\n").await, "OK Noop completed\r\n");
    drop(client);
    server.task.await.unwrap();
}
