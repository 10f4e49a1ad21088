import COpenCL
import Compute
import OpenCLRuntime

/// One way to tile the matrix product: the macros it is built with and how it is launched.
///
/// All variants add in the same order (see `Kernels/matmul_cpu.cl`), so that the choice never
/// changes a bit of the result.
package struct MatmulVariant: Hashable, Sendable {
  let source: KernelSource
  let definitions: [String: Int]
  /// Rows and columns of C that one work-group makes.
  package let blockRows: Int
  let blockColumns: Int
  /// Work-items of a work-group in the direction of the columns and of the rows.
  let local: (columns: Int, rows: Int)
  /// Stands for the definitions among the forms of the source's kernel; below 2^40.
  let form: UInt64

  package static func == (left: MatmulVariant, right: MatmulVariant) -> Bool {
    left.name == right.name
  }

  package func hash(into hasher: inout Hasher) { hasher.combine(name) }

  /// For example `cpu MB=48 MR=6 NB=16`: what the tuning cache stores.
  package var name: String {
    (source == .matmulCPU ? "cpu" : "gpu")
      + definitions.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
  }

  /// Variants of `Kernels/matmul_cpu.cl`.
  private static func cpu(
    rows: Int, columns: Int, depth: Int = 256, registerRows: Int, packing: Bool = false
  ) -> MatmulVariant {
    MatmulVariant(
      source: .matmulCPU,
      definitions: [
        "MB": rows, "NB": columns, "MR": registerRows, "KC": depth, "PACK_A": packing ? 1 : 0,
      ],
      blockRows: rows, blockColumns: columns, local: (1, 1),
      form: UInt64(rows) | UInt64(columns) << 10 | UInt64(depth) << 20
        | UInt64(registerRows) << 32 | (packing ? 1 : 0) << 36)
  }

  /// Variants of `Kernels/matmul_gpu.cl`.
  private static func gpu(
    rows: Int, columns: Int, depth: Int, registerRows: Int, registerColumns: Int
  ) -> MatmulVariant {
    MatmulVariant(
      source: .matmulGPU,
      definitions: [
        "TILE_M": rows, "TILE_N": columns, "TILE_K": depth, "RM": registerRows,
        "RN": registerColumns,
      ],
      blockRows: rows, blockColumns: columns,
      local: (columns / registerColumns, rows / registerRows),
      form: UInt64(rows) | UInt64(columns) << 10 | UInt64(depth) << 20
        | UInt64(registerRows) << 32 | UInt64(registerColumns) << 36)
  }

  /// Rows of sixteen floats that a CPU device holds in registers: 8 where they take half of 32
  /// registers of 512 bits, 6 where they take 12 of sixteen of 256 bits.
  package static func registerRows(on device: DeviceDescription) -> Int {
    device.kind == .cpu && sparrow_host_has_512_bit_vectors() ? 8 : 6
  }

  /// The work-items of a work-group.
  var groupSize: Int { local.columns * local.rows }

  /// The candidates of a family, few, since each costs compile time.
  package static func all(for family: DeviceFamily) -> [MatmulVariant] {
    switch family {
    case .cpu:
      [6, 8].flatMap { registerRows in
        [
          .cpu(rows: 48, columns: 16, registerRows: registerRows),
          .cpu(rows: 144, columns: 16, registerRows: registerRows),
          .cpu(rows: 264, columns: 16, depth: 400, registerRows: registerRows),
          .cpu(rows: 264, columns: 512, depth: 512, registerRows: registerRows, packing: true),
        ]
      }
    case .gpu:
      [
        .gpu(rows: 128, columns: 128, depth: 8, registerRows: 8, registerColumns: 8),
        .gpu(rows: 128, columns: 64, depth: 8, registerRows: 8, registerColumns: 8),
        .gpu(rows: 64, columns: 64, depth: 16, registerRows: 8, registerColumns: 4),
        .gpu(rows: 32, columns: 32, depth: 32, registerRows: 4, registerColumns: 4),
        .gpu(rows: 32, columns: 32, depth: 32, registerRows: 2, registerColumns: 2),
        .gpu(rows: 16, columns: 16, depth: 32, registerRows: 2, registerColumns: 2),
      ]
    }
  }

  /// Work-groups that a product of this shape makes.
  func groups(for shape: MatmulShape) -> Int {
    ((shape.m + blockRows - 1) / blockRows) * ((shape.n + blockColumns - 1) / blockColumns)
  }

  /// The variants worth trying on the device at this shape, the one to take without measuring first.
  ///
  /// On CPUs, those that suit its registers and keep the compute units busy, the largest tile first.
  /// Tiles too large for the shape are left out even where they measure well: on a
  /// machine that is busy with other work, one core that works alone looks as fast as all of them.
  /// GPUs are seldom shared: there tiles that leave some compute units idle are tried as well.
  package static func candidates(
    for shape: MatmulShape, family: DeviceFamily, on device: DeviceDescription
  ) -> [MatmulVariant] {
    let all = all(for: family)
    let registerRows = registerRows(on: device)
    let runnable = all.filter {
      $0.groupSize <= device.maximumWorkGroupSize
        && (family == .gpu || $0.definitions["MR"] == registerRows)
    }
    let bySize = (runnable.isEmpty ? all : runnable).sorted {
      $0.blockRows * $0.blockColumns > $1.blockRows * $1.blockColumns
    }
    let smallest = bySize[bySize.count - 1]
    func keeping(_ groupsForEach: Double) -> [MatmulVariant] {
      bySize.filter {
        Double($0.groups(for: shape)) >= groupsForEach * Double(device.computeUnits)
      }
    }
    if family == .cpu {
      let busy = keeping(4)
      return busy.isEmpty ? [smallest] : busy
    }
    let usual = keeping(2).first ?? smallest
    return [usual] + keeping(0.25).filter { $0 != usual }
  }
}
