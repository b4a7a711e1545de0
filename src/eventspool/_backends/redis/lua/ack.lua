-- Forget jobs that were delivered.
-- ARGV: id...   -> how many were stored
begin(COARSE)
return forget(ARGV, 'delivered')
