//! The connection to Redis: standalone, by way of Sentinels, or to a Redis Cluster, with or without TLS.

use super::settings::{Mode, Settings};
use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline,
    ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError, RedisResult, TlsCertificates, TlsMode, Value,
};
use std::sync::Arc;
use std::time::Duration;

/// What is told of a channel, and `None` when the connection was lost.
pub(crate) type Told = Arc<dyn Fn(Option<String>) + Send + Sync>;

/// An open connection. Clones share it; what is sent is answered in order.
#[derive(Clone)]
pub(crate) enum Link {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    /// Sends `pipeline` to where `key` lies, and hears all answers. A command that failed makes its answer the error.
    pub(crate) async fn run(&mut self, key: &str, pipeline: Pipeline) -> RedisResult<Vec<Value>> {
        let count = pipeline.len();
        let answers = match self {
            Self::One(link) => link.send_packed_commands(&pipeline, 0, count).await?,
            Self::Cluster(link) => {
                let to = SingleNodeRoutingInfo::SpecificNode(Route::new(slot(key), SlotAddr::Master));
                link.route_pipeline(pipeline, 0, count, to).await?
            }
        };
        if answers.len() == count { Ok(answers) } else { Err(odd("an answer is missing")) }
    }

    pub(crate) async fn subscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            Self::One(link) => link.subscribe(channel).await,
            Self::Cluster(link) => link.subscribe(channel).await,
        }
    }

    pub(crate) async fn unsubscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            Self::One(link) => link.unsubscribe(channel).await,
            Self::Cluster(link) => link.unsubscribe(channel).await,
        }
    }
}

/// An answer that no Redis gives.
pub(crate) fn odd(what: &'static str) -> RedisError {
    RedisError::from((redis::ErrorKind::UnexpectedReturnType, what))
}

/// CRC-16/XMODEM of what stands in braces, by which Redis Cluster spreads keys.
fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or(key, |(tag, _)| tag);
    let crc = tag.bytes().fold(0u16, |crc, octet| {
        (0..8)
            .fold(crc ^ (u16::from(octet) << 8), |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    });
    crc % 16_384
}

/// Makes connections.
pub(crate) enum Connector {
    Standalone(Vec<Client>),
    Sentinel(Box<tokio::sync::Mutex<SentinelClient>>),
    Cluster(Box<dyn Fn(Told) -> RedisResult<redis::cluster::ClusterClient> + Send + Sync>),
}

impl Connector {
    /// From what is configured.
    pub(crate) fn new(settings: &Settings) -> RedisResult<Self> {
        let certificates = settings.tls.as_ref().map(|tls| TlsCertificates {
            client_tls: tls.client.as_ref().map(|(certificate, key)| ClientTlsConfig {
                client_cert: certificate.clone(),
                client_key: key.expose().to_vec(),
            }),
            root_cert: tls.ca.clone(),
        });
        let password = |secret: &gateway_core::secret::Secret| String::from_utf8_lossy(secret.expose()).into_owned();
        let address = |(host, port): &(String, u16)| match certificates {
            Some(_) => ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None },
            None => ConnectionAddr::Tcp(host.clone(), *port),
        };
        let login = || {
            let mut login = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
            if let Some(name) = &settings.username {
                login = login.set_username(name);
            }
            if let Some(secret) = &settings.password {
                login = login.set_password(password(secret));
            }
            login
        };
        let info =
            |to| -> RedisResult<ConnectionInfo> { Ok(address(to).into_connection_info()?.set_redis_settings(login())) };
        match &settings.mode {
            Mode::Standalone => {
                let client = |to| match &certificates {
                    Some(certificates) => Client::build_with_tls(info(to)?, certificates.clone()),
                    None => Client::open(info(to)?),
                };
                Ok(Self::Standalone(settings.addresses.iter().map(client).collect::<RedisResult<_>>()?))
            }
            Mode::Sentinel { master, username, password: sentinel_password } => {
                let sentinels = settings.addresses.iter().map(address);
                let mut builder = SentinelClientBuilder::new(sentinels, master, SentinelServerType::Master)?
                    .set_client_to_redis_protocol(ProtocolVersion::RESP3);
                if let Some(name) = &settings.username {
                    builder = builder.set_client_to_redis_username(name);
                }
                if let Some(secret) = &settings.password {
                    builder = builder.set_client_to_redis_password(password(secret));
                }
                if let Some(name) = username {
                    builder = builder.set_client_to_sentinel_username(name);
                }
                if let Some(secret) = sentinel_password {
                    builder = builder.set_client_to_sentinel_password(password(secret));
                }
                if let Some(certificates) = &certificates {
                    builder = builder
                        .set_client_to_redis_tls_mode(TlsMode::Secure)
                        .set_client_to_redis_certificates(certificates.clone())
                        .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                        .set_client_to_sentinel_certificates(certificates.clone());
                }
                Ok(Self::Sentinel(Box::new(tokio::sync::Mutex::new(builder.build()?))))
            }
            Mode::Cluster => {
                let nodes = settings.addresses.iter().map(info).collect::<RedisResult<Vec<_>>>()?;
                let timeout = settings.timeout;
                Ok(Self::Cluster(Box::new(move |told| {
                    let mut builder = redis::cluster::ClusterClientBuilder::new(nodes.clone())
                        .use_protocol(ProtocolVersion::RESP3)
                        .connection_timeout(timeout)
                        .response_timeout(timeout)
                        .overall_response_timeout(Some(timeout * 2))
                        .retries(1)
                        .push_sender(move |push| tell(&told, push));
                    if let Some(certificates) = &certificates {
                        builder = builder.tls(TlsMode::Secure).certs(certificates.clone());
                    }
                    builder.build()
                })))
            }
        }
    }

    /// Connects; of several standalone addresses the first that answers.
    pub(crate) async fn connect(&self, timeout: Duration, told: Told) -> RedisResult<Link> {
        let config = |told: Told| {
            AsyncConnectionConfig::new()
                .set_connection_timeout(Some(timeout))
                .set_response_timeout(Some(timeout))
                .set_push_sender(move |push| tell(&told, push))
        };
        match self {
            Self::Standalone(clients) => {
                let mut last = odd("no address");
                for client in clients {
                    match client.get_multiplexed_async_connection_with_config(&config(told.clone())).await {
                        Ok(link) => return Ok(Link::One(link)),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
            // A Sentinel that does not answer must not hold up the others for long; the library asks them in turn.
            Self::Sentinel(client) => {
                let connecting = async { client.lock().await.get_async_connection_with_config(&config(told)).await };
                let patience = timeout * 4;
                let link =
                    tokio::time::timeout(patience, connecting).await.map_err(|_| odd("no Sentinel answered"))??;
                Ok(Link::One(link))
            }
            Self::Cluster(client) => {
                let client = client(told)?;
                let connecting = client.get_async_connection();
                let patience = timeout * 4;
                let link = tokio::time::timeout(patience, connecting).await.map_err(|_| odd("no node answered"))??;
                Ok(Link::Cluster(link))
            }
        }
    }
}

fn tell(told: &Told, push: PushInfo) -> Result<(), ()> {
    match push.kind {
        PushKind::Message => {
            if let Some(Value::BulkString(channel)) = push.data.into_iter().next() {
                told(Some(String::from_utf8_lossy(&channel).into_owned()));
            }
        }
        PushKind::Disconnection => told(None),
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(super::slot("123456789"), 0x31c3);
        assert_eq!(super::slot("orthrus:{123456789}:user:x"), 0x31c3);
    }
}
