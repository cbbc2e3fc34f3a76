#include "textflag.h"

// func returnAddresses(into []uintptr) int
//
// Follows the frame pointers. Without a frame of its own, BP is the caller's:
// 0(BP) is the frame pointer before it, 8(BP) the return address. Callers'
// frames lie above, or the chain has ended.
TEXT ·returnAddresses(SB), NOSPLIT|NOFRAME, $0-32
	MOVQ into_base+0(FP), DI
	MOVQ into_len+8(FP), SI
	MOVQ BP, DX
	MOVQ SP, BX
	XORQ AX, AX

next:
	CMPQ  AX, SI
	JGE   end
	CMPQ  DX, BX
	JLS   end
	MOVQ  DX, BX
	MOVQ  8(DX), CX
	MOVQ  CX, (DI)(AX*8)
	INCQ  AX
	MOVQ  0(DX), DX
	JMP   next

end:
	MOVQ AX, ret+24(FP)
	RET
