//! A scripted judge, a scripted guerdon server and `wait_until`, for tests only.
