//! How an object comes in while others read it.
