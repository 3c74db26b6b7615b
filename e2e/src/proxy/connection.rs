//! One connection through the proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, watch};

use super::request::Requests;
use super::{Answer, Line, Shared};

/// What the two directions of a connection know of each other.
#[derive(Default)]
struct State {
    watches: AtomicBool,
    cut: AtomicBool,
}

/// Serves one connection until either end has gone or the line breaks.
pub(super) async fn serve(
    shared: Arc<Shared>,
    mut line: watch::Receiver<Line>,
    stream: TcpStream,
    number: u64,
) {
    // However it ends, it ends with a reset: clients of API servers must live with that.
    if stream.set_zero_linger().is_err() || *line.borrow() == Line::Refusing {
        return;
    }
    let broken = line.clone();
    tokio::select! {
        () = pass(&shared, &mut line, stream, number) => {}
        () = broke(broken) => {}
    }
}

async fn broke(mut line: watch::Receiver<Line>) {
    // An error means that the proxy has gone.
    let _ = line.wait_for(|line| *line == Line::Refusing).await;
}

async fn pass(shared: &Shared, line: &mut watch::Receiver<Line>, stream: TcpStream, number: u64) {
    audible(line).await;
    let Ok(client) = shared.acceptor.accept(stream).await else {
        return;
    };
    let Ok(server) = TcpStream::connect(&shared.upstream).await else {
        return;
    };
    let name = ServerName::try_from("127.0.0.1").expect("an address is a name");
    let Ok(server) = shared.connector.connect(name, server).await else {
        return;
    };
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let (to_client, state) = (Mutex::new(to_client), State::default());
    let mut other_line = line.clone();
    tokio::select! {
        () = requests(shared, line, &state, from_client, to_server, &to_client) => {}
        () = answers(shared, &mut other_line, &state, number, from_server, &to_client) => {}
    }
}

/// Waits while nothing gets through.
async fn audible(line: &mut watch::Receiver<Line>) {
    let _ = line.wait_for(|line| *line != Line::Silent).await;
}

async fn requests<C, S, B>(
    shared: &Shared,
    line: &mut watch::Receiver<Line>,
    state: &State,
    from_client: C,
    mut to_server: S,
    to_client: &Mutex<B>,
) where
    C: AsyncRead + Unpin,
    S: AsyncWrite + Unpin,
    B: AsyncWrite + Unpin,
{
    let mut requests = Requests::new(from_client);
    while let Some(request) = requests.next().await {
        let faults = shared.faults.borrow().clone();
        let count = shared.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let hit = |every: Option<usize>| every.is_some_and(|every| count.is_multiple_of(every));
        tokio::time::sleep(faults.latency).await;
        audible(line).await;
        if let Some(answer) = faults.answer.iter().find(|a| hit(Some(a.every))) {
            let mut client = to_client.lock().await;
            let sent = client.write_all(text(answer).as_bytes()).await;
            if sent.is_err() || client.flush().await.is_err() {
                return;
            }
            continue;
        }
        if hit(faults.reset_every) {
            return;
        }
        state.cut.store(hit(faults.cut_every), Ordering::SeqCst);
        state.watches.store(request.is_watch, Ordering::SeqCst);
        let sent = to_server.write_all(&request.bytes).await;
        if sent.is_err() || to_server.flush().await.is_err() {
            return;
        }
    }
}

async fn answers<S, B>(
    shared: &Shared,
    line: &mut watch::Receiver<Line>,
    state: &State,
    number: u64,
    mut from_server: S,
    to_client: &Mutex<B>,
) where
    S: AsyncRead + Unpin,
    B: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
        let latency = shared.faults.borrow().latency;
        tokio::time::sleep(latency).await;
        audible(line).await;
        if state.watches.load(Ordering::SeqCst) && number < shared.deaf.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let cut = state.cut.load(Ordering::SeqCst);
        let end = if cut { read / 2 } else { read };
        let mut client = to_client.lock().await;
        let sent = client.write_all(&buffer[..end]).await;
        if sent.is_err() || client.flush().await.is_err() || cut {
            return;
        }
    }
}

fn text(answer: &Answer) -> String {
    let Answer {
        status,
        retry_after,
        ..
    } = answer;
    let body = format!(
        r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"by the proxy","code":{status}}}"#
    );
    let retry = retry_after.map_or(String::new(), |seconds| {
        format!("Retry-After: {seconds}\r\n")
    });
    format!(
        "HTTP/1.1 {status} Fault\r\n{retry}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
