//! What people see: text, JSON, pictures.

pub mod blame;
pub mod dump;
pub mod flame;
pub mod histogram;
pub mod holes;
pub mod html;
pub mod json;
pub mod map;
pub mod picture;
pub mod shootout;
pub mod text;
pub mod timeline;
mod verdict;

pub use verdict::sentence as verdict;
