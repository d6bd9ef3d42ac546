//! Connections of the HTTP listener within limits: how many, how slow, how long.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::plant::pulse::{BEAT, Pulse};

/// What a client may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At one time; more are closed at once.
    pub connections: usize,
    /// To send a whole request head, also while the connection waits for the next request.
    pub head: Duration,
    /// Without taking a single byte of the response.
    pub stall: Duration,
    /// Of a connection; then it ends after the response under way.
    pub life: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 64,
            head: Duration::from_secs(10),
            stall: Duration::from_secs(10),
            life: Duration::from_secs(600),
        }
    }
}

/// Serves until it is dropped, which closes all connections. `refused` is called for each connection too many; `pulse`
/// beats while connections are, or could be, accepted.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    pulse: &Pulse,
    refused: impl Fn(),
) -> Infallible {
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    pulse.beat();
    loop {
        let accepted = tokio::select! {
            accepted = timeout(BEAT, listener.accept()) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let stream = match accepted {
            // nobody has come
            Err(_) => {
                pulse.beat();
                continue;
            }
            Ok(Ok((stream, _))) => {
                pulse.beat();
                stream
            }
            // out of descriptors, or a client that gave up already: neither ends the service
            Ok(Err(error)) => {
                tracing::warn!(%error, "an HTTP connection could not be accepted");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            refused();
            continue;
        };
        let router = router.clone();
        connections.spawn(async move {
            connection(stream, router, limits).await;
            drop(place);
        });
    }
}

/// Errors are the client's: it sent garbage, was slow, or went away.
async fn connection(stream: TcpStream, router: Router, limits: Limits) {
    // small responses must not wait for an acknowledgement; without it they are only slower
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Patient { stream, stall: limits.stall, waiting: None });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head).max_headers(64).max_buf_size(16 * 1024);
    let mut connection = std::pin::pin!(builder.serve_connection(io, TowerToHyperService::new(router)));
    if timeout(limits.life, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(limits.stall, connection).await;
    }
}

/// A stream that gives up on a reader who takes nothing for too long.
struct Patient {
    stream: TcpStream,
    stall: Duration,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn writing<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = write(Pin::new(&mut self.stream), context) {
            self.waiting = None;
            return Poll::Ready(done);
        }
        let end = Instant::now() + self.stall;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writing(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writing(cx, |stream, cx| stream.poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writing(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn serve_alone(listener: TcpListener, router: Router, limits: Limits, refused: impl Fn()) -> Infallible {
        serve(listener, router, limits, &Pulse::default(), refused).await
    }

    #[tokio::test]
    async fn it_beats_while_nobody_comes_and_while_many_do() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pulse = Pulse::default();
        let serving = serve(listener, Router::new(), Limits { connections: 2, ..Limits::default() }, &pulse, || ());
        let mut serving = std::pin::pin!(serving);
        let beaten = async |more: u64| {
            let want = pulse.beats() + more;
            while pulse.beats() < want {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let idle = async { timeout(Duration::from_secs(20), beaten(2)).await };
        tokio::select! { never = &mut serving => match never {}, beats = idle => assert!(beats.is_ok()) }
        // most are refused, and each is a turn
        let flood = async {
            let before = pulse.beats();
            for _ in 0..100 {
                drop(TcpStream::connect(address).await.unwrap());
            }
            timeout(Duration::from_secs(20), beaten(100 - (pulse.beats() - before).min(100))).await
        };
        tokio::select! { never = &mut serving => match never {}, beats = flood => assert!(beats.is_ok()) }
        // a loop that is not polled has no pulse
        let before = pulse.beats();
        sleep(BEAT * 3).await;
        assert_eq!(pulse.beats(), before);
    }

    /// Sends `request` over a fresh connection and reads to its end.
    async fn check(request: &[u8], limits: Limits, start: &str, last: bool) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "hello" }));
        let server = tokio::spawn(serve_alone(listener, router, limits, || ()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // a reset is an end too
        let _ = client.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with(start), "{:?}: {text}", String::from_utf8_lossy(request));
        assert!(start.ends_with("200") || !text.contains("200 OK"), "{text}");
        assert!(!last || text.ends_with("hello"), "{text}");
        server.abort();
    }

    fn short() -> Limits {
        Limits { head: Duration::from_millis(100), stall: Duration::from_millis(100), ..Limits::default() }
    }

    #[tokio::test]
    async fn requests_good_and_bad() {
        check(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", Limits::default(), "HTTP/1.1 200", true).await;
        check(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage\r\n\r\n", Limits::default(), "HTTP/1.1 400", false)
            .await;
        check(b"GET / HTTP/9.9\r\n\r\n", Limits::default(), "", false).await;
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
        check(long.as_bytes(), Limits::default(), "", false).await;
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(1000));
        check(many.as_bytes(), Limits::default(), "HTTP/1.1 431", false).await;
    }

    #[tokio::test]
    async fn a_slow_head_and_an_idle_connection_end() {
        check(b"GET / HT", short(), "", false).await;
        check(b"", short(), "", false).await;
        // answered, then idle
        check(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", short(), "HTTP/1.1 200", true).await;
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_dropped() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { vec![0u8; 64 << 20] }));
        let server = tokio::spawn(serve_alone(listener, router, short(), || ()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        sleep(Duration::from_millis(500)).await;
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        assert!(answer.len() < 64 << 20, "the whole response came");
        server.abort();
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_are_closed_and_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let refused = Arc::new(AtomicUsize::new(0));
        let counter = refused.clone();
        let limits = Limits { connections: 1, ..Limits::default() };
        let count = move || {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let server = tokio::spawn(serve_alone(listener, Router::new(), limits, count));
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        first.read_u8().await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        let mut answer = Vec::new();
        let _ = second.read_to_end(&mut answer).await;
        assert_eq!((answer.len(), refused.load(Ordering::Relaxed)), (0, 1));
        server.abort();
    }
}
