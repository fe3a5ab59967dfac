package grpcx

import "context"

// InterceptorNames returns the steps of a server, the outermost first.
func InterceptorNames() []string {
	return interceptors(context.Background(), Options{}.withDefaults()).names()
}

// BreakListener closes the TCP listener behind the server's back.
func BreakListener(s *Server) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener.Close()
}
