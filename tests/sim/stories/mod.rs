//! Named lives of one certificate, one for each situation an operator can be in.

mod issuance;
