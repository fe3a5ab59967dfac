package httpx

// BreakListener closes the listener behind the server's back.
func BreakListener(s *Server) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener.Close()
}
