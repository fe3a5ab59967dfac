package store

// RememberAttempts bounds the rows of attempts to n.
func (s *Store) RememberAttempts(n int) { s.maxAttempts = n }
