package server

import (
	"github.com/parlordb/parlor/couchjs"
	"github.com/parlordb/parlor/store"
)

func (s *Server) allDocs(r *request) error           { panic("todo") }
func (s *Server) allDocsQueries(r *request) error    { panic("todo") }
func (s *Server) designDocs(r *request) error        { panic("todo") }
func (s *Server) designDocsQueries(r *request) error { panic("todo") }
func (s *Server) localDocs(r *request) error         { panic("todo") }
func (s *Server) localDocsQueries(r *request) error  { panic("todo") }
func (s *Server) changes(r *request) error           { panic("todo") }
func (s *Server) find(r *request) error              { panic("todo") }
func (s *Server) databaseUpdates(r *request) error   { panic("todo") }

// validatorCache keeps the validation functions of databases' design documents.
type validatorCache struct{}

// check returns the function that judges writes of r: the _users rules or the database's validate_doc_update functions.
func (s *Server) check(r *request) (store.Check, error) { panic("todo") }

// thrownError is the answer for what a validation function threw.
func thrownError(t *couchjs.Thrown) *Error { panic("todo") }
