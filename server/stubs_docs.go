package server

func (s *Server) getDocument(r *request) error      { panic("todo") }
func (s *Server) putDocument(r *request) error      { panic("todo") }
func (s *Server) postDocument(r *request) error     { panic("todo") }
func (s *Server) deleteDocument(r *request) error   { panic("todo") }
func (s *Server) copyDocument(r *request) error     { panic("todo") }
func (s *Server) createDocument(r *request) error   { panic("todo") }
func (s *Server) getAttachment(r *request) error    { panic("todo") }
func (s *Server) putAttachment(r *request) error    { panic("todo") }
func (s *Server) deleteAttachment(r *request) error { panic("todo") }
func (s *Server) bulkDocs(r *request) error         { panic("todo") }
func (s *Server) bulkGet(r *request) error          { panic("todo") }
func (s *Server) revsDiff(r *request) error         { panic("todo") }
func (s *Server) missingRevs(r *request) error      { panic("todo") }
func (s *Server) purge(r *request) error            { panic("todo") }
func (s *Server) getLocal(r *request) error         { panic("todo") }
func (s *Server) putLocal(r *request) error         { panic("todo") }
func (s *Server) deleteLocal(r *request) error      { panic("todo") }
