;; Says that there is room beyond the end of its memory.
;; hook: on-handshake
;; expect: fails trapped
(func (export "hook") (param i32 i32 i32) (result i32) (i32.const 512))
(func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0x7fff0000))
