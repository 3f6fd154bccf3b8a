//! What is wrong gets one clear error in bounded time, and nothing is lost by it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use engenho_harness::{CliOutput, Cluster, free_port, run_cli};
use hyper::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::support::{alone, binary, config_maps, create, value};

/// Bytes that are no protocol; the same in each run.
fn noise(count: usize, mut state: u64) -> Vec<u8> {
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    })
    .take(count)
    .collect()
}

/// Starts a member with these addresses and directory and wants it to end by itself.
async fn refused_start(data_dir: &str, api: SocketAddr, mesh: SocketAddr) -> anyhow::Result<CliOutput> {
    let (api, mesh) = (api.to_string(), mesh.to_string());
    let args = [
        "up",
        "--data-dir",
        data_dir,
        "--name",
        "late",
        "--api",
        &api,
        "--mesh",
        &mesh,
        "--runtime",
        "none",
        "--metrics",
        "off",
    ];
    let started = Instant::now();
    let output = run_cli(binary(), &args).await?;
    ensure!(
        started.elapsed() < Duration::from_secs(15),
        "it took {:?}",
        started.elapsed()
    );
    ensure!(
        output.code.is_some_and(|code| code != 0),
        "it ended with {:?}",
        output.code
    );
    ensure!(!output.stderr.contains("panicked"), "{}", output.stderr);
    Ok(output)
}

#[test]
fn bad_input_is_refused_and_harms_nothing() {
    alone(async || {
        let mut cluster = Cluster::found(binary()).await?;
        let member = &cluster.members[0];
        let api = member.api()?;
        create(&api, "before").await?;
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let free = || SocketAddr::new(ip, free_port(ip));
        let dir = |path: &std::path::Path| path.to_string_lossy().into_owned();

        // A second process on the same data directory.
        let output = refused_start(&dir(member.data_dir()), free(), free()).await?;
        ensure!(output.stderr.contains(&dir(member.data_dir())), "{}", output.stderr);
        // Ports that are taken.
        let other = dir(&cluster.root().join("other"));
        let output = refused_start(&other, member.addresses.api, free()).await?;
        ensure!(
            output.stderr.contains(&member.addresses.api.to_string()),
            "{}",
            output.stderr
        );
        let output = refused_start(&other, free(), member.addresses.mesh).await?;
        ensure!(
            output.stderr.contains(&member.addresses.mesh.to_string()),
            "{}",
            output.stderr
        );
        // A directory that cannot be made: a file is in its place.
        let file = cluster.root().join("file");
        std::fs::write(&file, "in the way")?;
        let output = refused_start(&dir(&file.join("data")), free(), free()).await?;
        ensure!(output.stderr.contains("file"), "{}", output.stderr);
        // Wrong usage.
        member.cli(&["status", "-o", "nonsense"]).await?.refused(2)?;
        member.cli(&["no-such-command"]).await?.refused(2)?;
        member.cli(&["chain", "show", "999999"]).await?.refused(1)?;
        let output = member.cli(&["expel", "nobody"]).await?;
        ensure!(output.code != Some(0), "{output:?}");

        garbage(member.addresses.api, member.addresses.mesh).await?;
        too_large(&api).await?;
        ensure!(
            member.rss_bytes()? < 500 << 20,
            "{} bytes of memory",
            member.rss_bytes()?
        );

        ensure!(value(&api, "before").await? == "before");
        create(&api, "after").await?;
        let member = &mut cluster.members[0];
        member.stop(Duration::from_secs(10)).await?;
        cluster.finish().await
    });
}

/// Noise on every port: whoever sends it is dropped, everyone else is served.
async fn garbage(api: SocketAddr, mesh: SocketAddr) -> anyhow::Result<()> {
    for seed in 1..=8 {
        let mut stream = TcpStream::connect(api).await?;
        // The other side may hang up before all is written.
        let _ = stream.write_all(&noise(4096, seed)).await;
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut answer)).await;
        ensure!(closed.is_ok(), "the API port keeps a connection that speaks no TLS");
    }
    let socket = UdpSocket::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).await?;
    for seed in 1..=500 {
        let size = 1 + usize::try_from(seed).context("seed")? * 13 % 1400;
        socket.send_to(&noise(size, seed), mesh).await?;
    }
    Ok(())
}

/// A body of 100 MB is refused without being kept.
async fn too_large(api: &engenho_harness::ApiClient) -> anyhow::Result<()> {
    let body = vec![b' '; 100 << 20];
    let sent = api
        .send(
            Method::POST,
            &config_maps(""),
            "application/json",
            body,
            Duration::from_secs(30),
        )
        .await;
    // The server may close the connection before the client has sent all of it.
    if let Ok(reply) = sent {
        reply.want(413)?;
    }
    let oversized = vec![b' '; 4 << 20];
    let sent = api
        .send(
            Method::POST,
            &config_maps(""),
            "application/json",
            oversized,
            Duration::from_secs(30),
        )
        .await;
    match sent {
        Ok(reply) => reply.want(413).map(|_| ()),
        Err(error) => ensure_broken(&error),
    }
}

fn ensure_broken(error: &anyhow::Error) -> anyhow::Result<()> {
    let text = format!("{error:#}");
    ensure!(
        !text.contains("no answer within"),
        "a body that is too large is answered in time, not: {text}"
    );
    Ok(())
}
