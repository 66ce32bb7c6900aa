//! The server over real sockets and a scripted backend: one file for each endpoint, and one for each kind of limit.

mod support;

mod accounts;
mod auth;
mod billing;
mod chat_completions;
mod completions;
mod corpus;
mod dashboard;
mod detokenize;
mod disconnects;
mod engine;
mod files;
mod health;
mod index;
mod inference;
mod limits;
mod load;
mod metrics;
mod models;
mod openapi;
mod parameters;
mod privacy;
mod ready;
mod retained;
mod shutdown;
mod smuggling;
mod tls;
mod tokenize;
mod traces;
mod training;
mod transport;
mod unknown;
