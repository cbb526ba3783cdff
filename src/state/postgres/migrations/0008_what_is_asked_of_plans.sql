-- What every look at the plans that wait asks is found without reading all that there ever were. Rows stay: they tell what became of a token.
CREATE INDEX confirmations_by_status ON confirmations (status, expires_at);
