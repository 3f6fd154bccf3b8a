//! The API's door without its TLS: HTTP over simulated TCP.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use engenho_engine::apiserver::{Body, Door, ServeOptions, serve_stream};
use tokio_util::sync::CancellationToken;
use turmoil::net::TcpListener;

/// Answers clients until told to stop.
pub async fn answer(listener: TcpListener, door: Door, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (door, stop) = (door.clone(), stop.clone());
        tokio::spawn(async move {
            // A client that went away is none of the server's business.
            let _ = serve_stream(stream, Clients(door), &ServeOptions::default(), stop).await;
        });
    }
}

/// The door without its TLS, as a service.
#[derive(Clone)]
struct Clients(Door);

impl tower::Service<http::Request<Body>> for Clients {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let door = self.0.clone();
        Box::pin(async move { Ok(door.handle(request, None).await) })
    }
}
