//! What only some systems have, behind one boundary.
//!
//! `linux` has what the kernel there offers, `portable` has twins made of the standard library;
//! the two have the same items. A build with `--cfg spanwire_portable` takes the twins on Linux
//! too, which is how they are tested.
