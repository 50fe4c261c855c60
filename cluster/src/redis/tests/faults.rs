//! A store that is slow, read-only, full, wiped, or filled with what nobody of ours wrote.

use super::*;
