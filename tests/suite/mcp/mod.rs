//! Tests of the face for agents: the published contract and the server behind it.

mod contract;
