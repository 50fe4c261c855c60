//! The health port: a balancer that cannot ask a RADIUS server connects there instead.
//!
//! A balancer that only connects takes a connection for health, so that the socket is open while the node is ready and closed
//! while it is not: the system then refuses connections. One that speaks HTTP is told 200 or 503, and which checks fail; 503 is
//! seen on connections that were opened just before. Nothing that is said there is secret.

use crate::node::Node;
use admin_api::Control;
use anyhow::Context;
use cluster::places::Door;
use gateway_core::limit::places::sender;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// How often readiness is looked at.
const TICK: Duration = Duration::from_millis(100);

/// How long somebody may take to say what they want.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest head of a request that is read.
const LONGEST: usize = 2048;

/// Serves the port for as long as this thread lives; where it is.
///
/// # Errors
///
/// The address cannot be listened on.
pub fn start(node: &Arc<Node>, address: SocketAddr, connections: usize) -> anyhow::Result<SocketAddr> {
    let what = || format!("health.listen {address}: choose an address of this host and a free port");
    // Whether it can be had is seen now and not when the node is ready.
    let first = std::net::TcpListener::bind(address).with_context(what)?;
    let address = first.local_addr().with_context(what)?;
    drop(first);
    actix_rt::spawn(serve(node.clone(), address, Door::new(connections)));
    Ok(address)
}

async fn serve(node: Arc<Node>, address: SocketAddr, door: Door<IpAddr>) {
    let mut open: Option<TcpListener> = None;
    let mut told = false;
    loop {
        let ready = node.readiness().ready;
        if ready && open.is_none() {
            match TcpListener::bind(address).await {
                Ok(listener) => {
                    (open, told) = (Some(listener), false);
                    tracing::info!(%address, "ready: the health port takes connections");
                }
                Err(error) if !told => {
                    told = true;
                    tracing::error!(%address, %error, "ready, but the health port cannot be opened: somebody else has it");
                }
                Err(_) => {}
            }
        } else if !ready && open.take().is_some() {
            tracing::warn!(%address, failing = node.readiness().failing(), "not ready: the health port refuses connections");
        }
        match &open {
            None => actix_rt::time::sleep(TICK).await,
            // However many come, readiness is looked at in between.
            Some(listener) => drop(timeout(TICK, welcome(&node, listener, &door)).await),
        }
    }
}

async fn welcome(node: &Arc<Node>, listener: &TcpListener, door: &Door<IpAddr>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                greet(node, stream, peer, door);
                // Whoever lost a place for it is closed before another comes, so that no more are open than there are places.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                crate::means::is_behind(&error);
                // Whoever waits is to be heard, and is not to be asked again at once.
                door.make_room();
                actix_rt::time::sleep(TICK).await;
            }
        }
    }
}

/// Whoever comes always finds a place: the sender that holds the most loses its oldest connection.
fn greet(node: &Arc<Node>, stream: TcpStream, peer: SocketAddr, door: &Door<IpAddr>) {
    let Some((mut place, closes)) = door.enter(sender(peer.ip())) else { return };
    if closes {
        node.observer.metrics.limit_hits.with_label_values(&["health.connections"]).inc();
    }
    let node = node.clone();
    actix_rt::spawn(async move {
        // Whoever only connects hangs up by itself, or is hung up on.
        place.hold(timeout(PATIENCE, answer(&node, stream))).await;
    });
}

/// Answers one request of whatever method and path: balancers differ in both.
async fn answer(node: &Node, mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(256);
    let mut buffer = [0; 256];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut buffer).await?;
        if count == 0 || head.len() + count > LONGEST {
            return Ok(());
        }
        head.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
    let line = head.split(|octet| *octet == b'\r').next().unwrap_or_default();
    if !line.windows(6).any(|part| part == b" HTTP/") {
        return Ok(());
    }
    let readiness = node.readiness();
    let status = if readiness.ready { "200 OK" } else { "503 Service Unavailable" };
    let body = if readiness.ready { "ready\n".to_owned() } else { format!("not ready: {}\n", readiness.failing()) };
    let length = body.len();
    let shown = if line.starts_with(b"HEAD ") { "" } else { &body };
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n{shown}"
    );
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}
