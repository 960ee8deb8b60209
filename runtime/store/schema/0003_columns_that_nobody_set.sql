-- An operator stands in the audit, with what they did; an effect is offered again after a crash of
-- its owner only, and how often that was nobody asks.

ALTER TABLE messages DROP COLUMN operator;
ALTER TABLE outbox DROP COLUMN attempts;
