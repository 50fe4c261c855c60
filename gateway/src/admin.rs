//! The admin port: who may speak to it at the same time. What is said there is `admin-api`'s.
//!
//! Whoever only connects, or says half of what they want, must keep nobody else out. There are so many places; when all are taken,
//! the sender that holds the most loses its oldest connection, whatever that is at: an answer takes milliseconds.

use crate::node::Node;
use actix_web::dev::{Extensions, ServerHandle};
use actix_web::http::KeepAlive;
use actix_web::rt::net::TcpStream;
use actix_web::{App, HttpServer};
use admin_api::Control;
use anyhow::Context;
use cluster::places::Door;
use gateway_core::config::Config;
use gateway_core::limit::places::sender;
use rustix::net::{Shutdown, shutdown};
use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Connections that were told to end, and have not yet.
const ENDING: usize = 32;

/// Longest time that somebody may take to hang up.
const GOODBYE: Duration = Duration::from_secs(1);

pub(crate) type Admin = (Option<ServerHandle>, Option<SocketAddr>);

/// Lives as long as the connection.
struct Open(#[allow(dead_code, reason = "it is dropped")] oneshot::Sender<()>);

/// Serves the port, on a thread of its own.
pub(crate) fn start(node: &Arc<Node>, config: &Config) -> anyhow::Result<Admin> {
    if !config.admin.enabled {
        return Ok((None, None));
    }
    let control: Arc<dyn Control> = node.clone();
    let (address, places) = (config.admin.listen, config.admin.connections);
    let (door, at_door) = (Arc::new(Door::new(places)), node.clone());
    let server = HttpServer::new(move || App::new().configure(admin_api::routes(control.clone())))
        .workers(1)
        .worker_max_blocking_threads(1)
        .disable_signals()
        .shutdown_timeout(1)
        .max_connections(places.saturating_add(ENDING))
        .client_request_timeout(config.admin.request_timeout)
        .client_disconnect_timeout(GOODBYE)
        // A connection that waits for another question would hold a place for nothing.
        .keep_alive(KeepAlive::Disabled)
        .h1_allow_half_closed(false)
        .on_connect(move |stream, data| enter(&at_door, &door, stream, data))
        .bind(address)
        .with_context(|| format!("admin.listen {address}: choose an address of this host and a free port"))?;
    let address = server.addrs().first().copied();
    let server = server.run();
    let handle = server.handle();
    actix_rt::spawn(server);
    if let Some(address) = address {
        tracing::info!(%address, "health and metrics");
    }
    Ok((Some(handle), address))
}

/// A connection has come: it gets a place, for which another may be closed.
fn enter(node: &Node, door: &Arc<Door<IpAddr>>, stream: &dyn Any, data: &mut Extensions) {
    let Some(stream) = stream.downcast_ref::<TcpStream>() else { return };
    let peer = stream.peer_addr().map(|peer| sender(peer.ip()));
    // What closes it later needs a descriptor of its own.
    let (Ok(peer), Ok(handle)) = (peer, stream.as_fd().try_clone_to_owned()) else {
        door.make_room();
        let _ = shutdown(stream, Shutdown::Both);
        return;
    };
    let Some((mut place, closes)) = door.enter(peer) else {
        let _ = shutdown(stream, Shutdown::Both);
        return;
    };
    if closes {
        node.observer.metrics.limit_hits.with_label_values(&["admin.connections"]).inc();
    }
    let (open, over) = oneshot::channel();
    data.insert(Open(open));
    actix_rt::spawn(async move {
        if place.hold(over).await.is_none() {
            let _ = shutdown(&handle, Shutdown::Both);
        }
    });
}
