;; Never answers, with the client's handshake in its hands.
;; hook: on-handshake
;; expect: fails exceeded its limit of time
(func (export "hook") (param i32 i32 i32) (result i32) (loop (br 0)) (unreachable))
(func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
