//! Files of the spool: what was received and is not on the vault yet, as append-only files of this machine.
