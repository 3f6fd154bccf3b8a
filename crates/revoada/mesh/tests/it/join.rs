//! Newcomers.

use revoada_mesh::{MeshError, connect_join};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Options, identity, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_talks_over_one_stream() {
    let server = Options::new(1, &[1]).start();
    let mesh = server.mesh.clone();
    let serving = tokio::spawn(async move {
        let mut join = mesh.join_accept().await.unwrap();
        let mut request = [0; 5];
        join.stream.read_exact(&mut request).await.unwrap();
        assert_eq!(&request, b"hello");
        join.stream.write_all(&vec![7; 300_000]).await.unwrap();
        join.stream.shutdown().await.unwrap();
        (join.peer, join.remote)
    });
    let newcomer = identity(50);
    let connecting = connect_join(&newcomer, server.mesh.local_addr(), Some(server.id()));
    let (key, mut stream) = within("join", connecting).await.unwrap();
    assert_eq!(key, server.id());
    stream.write_all(b"hello").await.unwrap();
    let mut answer = Vec::new();
    within("answer", stream.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer.len(), 300_000);
    let (peer, remote) = within("server", serving).await.unwrap();
    assert_eq!(peer, identity(50).id());
    assert!(remote.ip().is_loopback());
    server.mesh.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_proves_its_key_before_the_secret_is_sent() {
    let server = Options::new(1, &[1]).start();
    let wrong = identity(9).id();
    let error = within(
        "join",
        connect_join(&identity(50), server.mesh.local_addr(), Some(wrong)),
    )
    .await
    .unwrap_err();
    assert!(matches!(error, MeshError::WrongKey { .. }), "{error}");
    let (key, _) = within("join", connect_join(&identity(50), server.mesh.local_addr(), None))
        .await
        .unwrap();
    assert_eq!(key, server.id());
    server.mesh.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_newcomers_at_once() {
    let server = Options::new(1, &[1]).start();
    let mesh = server.mesh.clone();
    tokio::spawn(async move {
        while let Some(mut join) = mesh.join_accept().await {
            tokio::spawn(async move {
                let mut text = Vec::new();
                join.stream.read_to_end(&mut text).await.unwrap();
                join.stream.write_all(&text).await.unwrap();
            });
        }
    });
    let address = server.mesh.local_addr();
    let joins = (60..76u8).map(|n| async move {
        let (_, mut stream) = connect_join(&identity(n), address, None).await.unwrap();
        stream.write_all(&[n]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, [n]);
    });
    within("joins", futures_util::future::join_all(joins)).await;
    server.mesh.shutdown().await;
}
