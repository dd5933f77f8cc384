//! A TCP proxy that records both directions and can do something at a chosen byte.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::transcript::Transcript;

/// Runs once when so many octets of one connection have come from the client.
pub struct Trigger {
    pub at: u64,
    pub action: Box<dyn FnOnce() + Send>,
}

/// Listens on a port of its own; where it leads can change between connections.
pub struct Proxy {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    target: u16,
    sessions: Vec<Session>,
    trigger: Option<Trigger>,
    keep_compress: bool,
}

#[derive(Default)]
struct Session {
    /// The banner was in what has been taken.
    greeted: bool,
    client: Vec<u8>,
    server: Vec<u8>,
}

impl Proxy {
    pub fn start() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new(Mutex::new(State::default()));
        let accepting = Arc::clone(&state);
        // Ends with the process: nobody connects to the port once the test is over.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                connect(&accepting, client);
            }
        });
        Proxy { port, state }
    }

    /// Where the next connections lead.
    pub fn lead_to(&self, port: u16) {
        self.lock().target = port;
    }

    /// Lets clients compress from now on; the record is then of no use.
    pub fn keep_compress(&self) {
        self.lock().keep_compress = true;
    }

    /// Arms an action for the next connection that sends enough.
    pub fn arm(&self, trigger: Trigger) {
        self.lock().trigger = Some(trigger);
    }

    /// Takes an action back that did not run; `None` when it ran.
    pub fn disarm(&self) -> Option<Trigger> {
        self.lock().trigger.take()
    }

    /// What passed since the last call: one transcript for each connection that said something. A connection
    /// that is in the middle of a command is cut there.
    pub fn take(&self) -> Vec<Transcript> {
        let mut transcripts = Vec::new();
        for session in &mut self.lock().sessions {
            if session.client.is_empty() && session.server.is_empty() {
                continue;
            }
            let (client, server) = (&session.client, &session.server);
            transcripts.push(match session.greeted {
                true => Transcript::of_commands(client, server),
                false => Transcript::parse(client, server),
            });
            *session = Session {
                greeted: true,
                ..Session::default()
            };
        }
        transcripts
    }

    /// Octets that clients sent since the last `take`.
    pub fn received(&self) -> u64 {
        self.lock()
            .sessions
            .iter()
            .map(|session| session.client.len() as u64)
            .sum()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic in the proxy")
    }
}

fn connect(state: &Arc<Mutex<State>>, client: TcpStream) {
    let (target, index) = {
        let mut state = state.lock().expect("no panic in the proxy");
        state.sessions.push(Session::default());
        (state.target, state.sessions.len() - 1)
    };
    // Refused: the client sees the end of the stream, as from a server that is down.
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = (client.try_clone().expect("a handle"), client);
    let (from_server, to_server) = (server.try_clone().expect("a handle"), server);
    let (there, back) = (Arc::clone(state), Arc::clone(state));
    std::thread::spawn(move || {
        pump(from_client, to_server, |bytes| {
            let mut state = there.lock().expect("no panic in the proxy");
            if let Some(session) = state.sessions.get_mut(index) {
                session.client.extend_from_slice(bytes);
            }
            let sent = state
                .sessions
                .get(index)
                .map_or(0, |session| session.client.len() as u64);
            if state
                .trigger
                .as_ref()
                .is_some_and(|trigger| sent >= trigger.at)
            {
                let trigger = state.trigger.take().expect("an armed trigger");
                drop(state);
                (trigger.action)();
            }
            bytes.to_vec()
        });
    });
    std::thread::spawn(move || {
        pump(from_server, to_client, |bytes| {
            // With COMPRESS there would be nothing to read in the record; the client then does without.
            let mut state = back.lock().expect("no panic in the proxy");
            let bytes = match state.keep_compress {
                true => bytes.to_vec(),
                false => without(bytes, b"* COMPRESS DEFLATE\r\n"),
            };
            if let Some(session) = state.sessions.get_mut(index) {
                session.server.extend_from_slice(&bytes);
            }
            bytes
        });
    });
}

fn pump(mut from: TcpStream, mut to: TcpStream, mut seen: impl FnMut(&[u8]) -> Vec<u8>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&seen(&buffer[..length])).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

fn without(bytes: &[u8], line: &[u8]) -> Vec<u8> {
    match bytes.windows(line.len()).position(|window| window == line) {
        Some(at) => [&bytes[..at], &bytes[at + line.len()..]].concat(),
        None => bytes.to_vec(),
    }
}
