//! gRPC without its messages: what passes through stays bytes.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as Task, Poll};

use prost::bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio_stream::Stream;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{Body as HttpBody, http};
use tonic::{Code, Status};

/// How many bytes stand in front of each message: they say whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Reads the body of a request, and the one message in it: none if that is compressed or incomplete, which its reader
/// may complain about.
pub(super) async fn read(body: Body) -> Result<(Bytes, Option<Bytes>), Status> {
    let mut body = std::pin::pin!(body);
    let mut bytes = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|task| body.as_mut().poll_frame(task)).await {
        if let Ok(data) = frame?.into_data() {
            if bytes.len() + data.len() > super::super::LONGEST_MESSAGE + PREFIX {
                return Err(Status::resource_exhausted("the message is longer than 400 MiB"));
            }
            bytes.extend_from_slice(&data);
        }
    }
    let bytes = bytes.freeze();
    let message = match bytes.get(..PREFIX) {
        Some(&[0, a, b, c, d]) if bytes.len() - PREFIX == u32::from_be_bytes([a, b, c, d]) as usize => {
            Some(bytes.slice(PREFIX..))
        }
        _ => None,
    };
    Ok((bytes, message))
}

/// The body of a request that has been read.
pub(super) struct Whole(pub(super) Option<Bytes>);

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Task<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}

/// A reply of messages as they come.
pub(super) fn reply(
    messages: impl Stream<Item = Result<Bytes, Status>> + Send + 'static,
) -> http::Response<Body> {
    let body = Body::new(Reply(Some(Box::pin(messages))));
    let mut response = http::Response::new(body);
    let kind = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// The messages that are still to come; none once their end has been sent.
struct Reply(Option<Messages>);

impl HttpBody for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        let Some(messages) = &mut self.0 else { return Poll::Ready(None) };
        let end = match std::task::ready!(messages.as_mut().poll_next(task)) {
            Some(Ok(message)) => {
                let mut framed = BytesMut::with_capacity(PREFIX + message.len());
                framed.put_u8(0);
                // Longer ones do not arrive here.
                framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
                framed.extend_from_slice(&message);
                return Poll::Ready(Some(Ok(http_body::Frame::data(framed.freeze()))));
            }
            Some(Err(status)) => status,
            None => Status::new(Code::Ok, ""),
        };
        self.0 = None;
        let mut trailers = http::HeaderMap::new();
        end.add_header(&mut trailers)?;
        Poll::Ready(Some(Ok(http_body::Frame::trailers(trailers))))
    }
}

/// Messages as their bytes.
#[derive(Clone, Copy)]
pub(super) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
