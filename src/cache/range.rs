//! Byte ranges (RFC 9110 §14): which bytes a request asks for, and how an answer with them looks.
