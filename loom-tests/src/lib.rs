//! loom models live in `tests/`; run them with `ci/loom.sh`. What shuttle runs begins with `shuttle_`;
//! run it with `ci/shuttle.sh`.
