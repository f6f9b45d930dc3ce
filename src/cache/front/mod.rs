//! How clients are spoken to: HTTP/1.1 and HTTP/2, plain and over TLS.
