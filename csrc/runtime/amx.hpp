// Whether this process may use the tile registers of AMX.
//
// The processor's flag is not enough. They are 8 KiB of state that the system saves for each thread, so Linux gives
// them on request only (arch_prctl), and a virtual machine or a small signal stack may refuse what the processor has.
#pragma once

namespace loopnest {

// Why the rungs on tiles are emulated, or nullptr. The system is asked once; a forked child keeps the permission.
const char* why_no_amx();

// From now on tiles are emulated, even here: for tests.
void emulate_amx(bool emulate);

}  // namespace loopnest
