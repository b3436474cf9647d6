//! What becomes of a body before it is sent.
